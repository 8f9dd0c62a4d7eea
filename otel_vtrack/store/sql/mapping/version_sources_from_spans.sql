-- Collect the sources of versions from inserted spans.

CREATE OR REPLACE MATERIALIZED VIEW version_sources_from_spans /*@ON CLUSTER '{cluster}'*/ TO version_sources AS
SELECT
    s.experiment AS experiment,
    s.service_name AS service_name,
    s.version AS version,
    s.environment AS environment,
    s.deployment_id AS deployment_id,
    s.git_commit AS git_commit,
    s.git_branch AS git_branch,
    s.git_dirty AS git_dirty,
    s.repository_url AS repository_url,
    min(s.start_time) AS first_seen,
    max(s.start_time) AS last_seen
FROM spans/*@_local*/ AS s
GROUP BY
    s.experiment, s.service_name, s.version, s.environment, s.deployment_id,
    s.git_commit, s.git_branch, s.git_dirty, s.repository_url;
