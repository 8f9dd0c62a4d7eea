-- Aggregate inserted minutes of activity into hours.

CREATE OR REPLACE MATERIALIZED VIEW activity_hours_from_activity_minutes /*@ON CLUSTER '{cluster}'*/ TO activity_hours AS
SELECT
    a.experiment AS experiment,
    a.service_name AS service_name,
    a.environment AS environment,
    intDiv(a.minute - positiveModulo(a.minute, 60), 60) AS hour,
    a.version AS version,
    a.adjusted_count AS adjusted_count,
    min(a.first_seen) AS first_seen,
    max(a.last_seen) AS last_seen,
    uniqMergeState(a.traces) AS traces,
    uniqMergeState(a.instances) AS instances
FROM activity_minutes/*@_local*/ AS a
GROUP BY experiment, service_name, environment, hour, version, adjusted_count;
