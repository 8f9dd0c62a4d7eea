-- Empty since activity_minutes has what was in it.

/*@
DROP TABLE IF EXISTS activity ON CLUSTER '{cluster}' SYNC;
*/

DROP TABLE IF EXISTS activity/*@_local ON CLUSTER '{cluster}'*/ SYNC;
