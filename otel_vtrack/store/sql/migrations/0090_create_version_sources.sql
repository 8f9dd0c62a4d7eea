-- Which code ran as which version and where, and from when to when: so a search by commit knows
-- of most traces without a look at their spans.
--
-- `versions` has the greatest commit of each version. Here is a row for each.

CREATE TABLE IF NOT EXISTS version_sources/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    version LowCardinality(String),
    environment LowCardinality(String),
    deployment_id LowCardinality(String),
    git_commit LowCardinality(String),
    git_branch LowCardinality(String),
    git_dirty LowCardinality(String),
    repository_url LowCardinality(String),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
)
ENGINE = /*@Replicated*/AggregatingMergeTree
ORDER BY (experiment, service_name, version, environment, deployment_id, git_commit, git_branch, git_dirty, repository_url);

/*@
CREATE TABLE IF NOT EXISTS version_sources ON CLUSTER '{cluster}' AS version_sources_local
ENGINE = Distributed('{cluster}', currentDatabase(), version_sources_local, cityHash64(experiment));
*/

-- What is stored already, once.

INSERT INTO version_sources
SELECT
    s.experiment, s.service_name, s.version, s.environment, s.deployment_id,
    s.git_commit, s.git_branch, s.git_dirty, s.repository_url,
    min(s.start_time), max(s.start_time)
FROM spans AS s
GROUP BY
    s.experiment, s.service_name, s.version, s.environment, s.deployment_id,
    s.git_commit, s.git_branch, s.git_dirty, s.repository_url;
