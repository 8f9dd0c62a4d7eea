-- Which versions of what ran where, and since when: one row each, fed by every span.
--
-- Counts are `uniq` states: exact up to 65,536, an estimate within about 1 % above.

CREATE TABLE IF NOT EXISTS versions/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    version LowCardinality(String),
    environment LowCardinality(String),
    deployment_id LowCardinality(String),
    git_commit SimpleAggregateFunction(max, LowCardinality(String)),
    git_branch SimpleAggregateFunction(max, LowCardinality(String)),
    git_dirty SimpleAggregateFunction(max, LowCardinality(String)),
    repository_url SimpleAggregateFunction(max, LowCardinality(String)),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
    traces AggregateFunction(uniq, FixedString(16)),
    sessions AggregateFunction(uniq, String),
    users AggregateFunction(uniq, String)
)
ENGINE = /*@Replicated*/AggregatingMergeTree
ORDER BY (experiment, service_name, version, environment, deployment_id);

/*@
CREATE TABLE IF NOT EXISTS versions ON CLUSTER '{cluster}' AS versions_local
ENGINE = Distributed('{cluster}', currentDatabase(), versions_local, cityHash64(experiment));
*/
