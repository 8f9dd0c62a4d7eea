-- What inserts knew of the root of a trace differs, and spans may begin at once, as they do where
-- clocks count milliseconds: of two such rows a merge kept the last one, which need not be the
-- root's. `said` tells them apart. It has few values, as what it is made of.

ALTER TABLE trace_roots/*@_local ON CLUSTER '{cluster}'*/
    ADD COLUMN IF NOT EXISTS said UInt32,
    MODIFY ORDER BY (start_time, trace_id, experiment, said);

/*@
ALTER TABLE trace_roots ON CLUSTER '{cluster}' ADD COLUMN IF NOT EXISTS said UInt32;
*/
