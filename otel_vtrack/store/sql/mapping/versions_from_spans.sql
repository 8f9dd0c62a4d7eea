-- Aggregate inserted spans into versions.

CREATE OR REPLACE MATERIALIZED VIEW versions_from_spans /*@ON CLUSTER '{cluster}'*/ TO versions AS
SELECT
    s.experiment AS experiment,
    s.service_name AS service_name,
    s.version AS version,
    s.environment AS environment,
    s.deployment_id AS deployment_id,
    s.adjusted_count AS adjusted_count,
    max(s.git_commit) AS git_commit,
    max(s.git_branch) AS git_branch,
    max(s.git_dirty) AS git_dirty,
    max(s.repository_url) AS repository_url,
    min(s.start_time) AS first_seen,
    max(s.start_time) AS last_seen,
    uniqState(s.trace_id) AS traces,
    uniqStateIf(s.trace_id, s.status_code = 2) AS error_traces,
    uniqStateIf(s.session_id, s.session_id != '') AS sessions,
    uniqStateIf(s.user_id, s.user_id != '') AS users
FROM spans/*@_local*/ AS s
GROUP BY s.experiment, s.service_name, s.version, s.environment, s.deployment_id, s.adjusted_count;
