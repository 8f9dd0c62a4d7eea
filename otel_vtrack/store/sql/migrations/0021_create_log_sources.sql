-- Which services of which experiments have sent log records, and since when: for experiments
-- without spans, since looking through all log records takes long.

CREATE TABLE IF NOT EXISTS log_sources/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
)
ENGINE = /*@Replicated*/AggregatingMergeTree
ORDER BY (experiment, service_name);

/*@
CREATE TABLE IF NOT EXISTS log_sources ON CLUSTER '{cluster}' AS log_sources_local
ENGINE = Distributed('{cluster}', currentDatabase(), log_sources_local, cityHash64(experiment));
*/
