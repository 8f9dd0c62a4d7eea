-- Extract declared deployments from inserted log records: events named `deployment`, as CI sends
-- them.
--
-- The conventions have attributes of deployments but no event (registry, 1.44). The record takes
-- precedence over its resource, which may be the pipeline's. The same event again is the same
-- change. Few functions are used, since every insert pays for their analysis.

CREATE OR REPLACE MATERIALIZED VIEW deployment_changes_from_log_records /*@ON CLUSTER '{cluster}'*/ TO deployment_changes AS
WITH mapUpdate(CAST(l.resource_attributes, 'Map(String, String)'), CAST(l.attributes, 'Map(String, String)')) AS said
SELECT
    -- Of another service than the sender, and nobody named an experiment: that service's own.
    multiIf(
        said['vtrack.experiment'] != '', said['vtrack.experiment'],
        service_name = l.service_name, l.experiment,
        service_name) AS experiment,
    said['service.name'] AS service_name,
    said['deployment.environment.name'] AS environment,
    arrayFirst(t -> t != '', [said['deployment.id'], said['deployment.name'], said['cicd.pipeline.run.id'], hex(l.record_id)]) AS deployment_id,
    l.time AS change_time,
    reinterpretAsUUID(sipHash128(l.record_id)) AS change_id,
    true AS created,
    nullIf(said['service.version'], '') AS version,
    transform(said['deployment.status'], ['succeeded', 'failed'], ['SUCCEEDED', 'FAILED'], 'IN_PROGRESS') AS status,
    l.time AS start_time,
    if(l.body_type = 1, l.body, NULL) AS description,
    mapFilter((k, v) -> match(k, '^(cicd|vcs)\\.') AND v != '', said) AS set_tags
FROM log_records/*@_local*/ AS l
WHERE l.event_name = 'deployment' AND service_name != '' AND environment != '';
