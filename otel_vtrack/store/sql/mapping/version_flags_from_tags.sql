-- Collect the feature flags that versions saw from all kinds of telemetry.

CREATE OR REPLACE MATERIALIZED VIEW version_flags_from_tags /*@ON CLUSTER '{cluster}'*/ TO version_flags AS
SELECT
    t.experiment AS experiment,
    t.service_name AS service_name,
    t.version AS version,
    t.environment AS environment,
    t.deployment_id AS deployment_id,
    groupUniqArray(100)((substring(t.key, 13), substringUTF8(t.value, 1, 250))) AS flags
FROM tags_inbox AS t
WHERE startsWith(t.key, 'vtrack.flag.') AND t.value != ''
GROUP BY t.experiment, t.service_name, t.version, t.environment, t.deployment_id;
