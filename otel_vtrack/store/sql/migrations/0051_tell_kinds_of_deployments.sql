-- What kind of deployment an event is of, and how it was compared; until now all were versions
-- that were new, compared route by route.

ALTER TABLE watch_events/*@_local ON CLUSTER '{cluster}'*/
    ADD COLUMN IF NOT EXISTS deployment_kind LowCardinality(String) DEFAULT 'new_version',
    ADD COLUMN IF NOT EXISTS baseline_deployment_id String,
    ADD COLUMN IF NOT EXISTS routes_pooled Bool;

/*@
ALTER TABLE watch_events ON CLUSTER '{cluster}'
    ADD COLUMN IF NOT EXISTS deployment_kind LowCardinality(String) DEFAULT 'new_version',
    ADD COLUMN IF NOT EXISTS baseline_deployment_id String,
    ADD COLUMN IF NOT EXISTS routes_pooled Bool;
*/
