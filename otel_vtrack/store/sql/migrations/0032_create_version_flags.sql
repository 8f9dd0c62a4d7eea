-- The door for tags of traces out of telemetry, in whatever way they came: one row each, with
-- what told it. It keeps nothing; trace_tags_from_tags and version_flags_from_tags read from it.

CREATE TABLE IF NOT EXISTS tags_inbox /*@ON CLUSTER '{cluster}'*/
(
    key String,
    trace_id FixedString(16),
    value String,
    changed_at Int64,  -- as in trace_tags
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    version LowCardinality(String),
    environment LowCardinality(String),
    deployment_id LowCardinality(String)
)
ENGINE = Null;

-- Which variants of which feature flags were seen where, by version and place. A hundred of each
-- are kept, for a flag may have any value.

CREATE TABLE IF NOT EXISTS version_flags/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    version LowCardinality(String),
    environment LowCardinality(String),
    deployment_id LowCardinality(String),
    flags SimpleAggregateFunction(groupUniqArrayArray(100), Array(Tuple(flag String, variant String)))
)
ENGINE = /*@Replicated*/AggregatingMergeTree
ORDER BY (experiment, service_name, version, environment, deployment_id);

/*@
CREATE TABLE IF NOT EXISTS version_flags ON CLUSTER '{cluster}' AS version_flags_local
ENGINE = Distributed('{cluster}', currentDatabase(), version_flags_local, cityHash64(experiment));
*/
