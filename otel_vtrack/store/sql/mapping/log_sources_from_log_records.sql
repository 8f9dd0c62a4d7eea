-- Collect the services that send log records from inserted log records.

CREATE OR REPLACE MATERIALIZED VIEW log_sources_from_log_records /*@ON CLUSTER '{cluster}'*/ TO log_sources AS
SELECT
    l.experiment AS experiment,
    l.service_name AS service_name,
    min(l.time) AS first_seen,
    max(l.time) AS last_seen
FROM log_records/*@_local*/ AS l
GROUP BY l.experiment, l.service_name;
