-- What the watch found, and which of it was delivered. Rows are added and never changed.
--
-- The id of an event follows from what it says, so that servers or restarts which find the same
-- add no second one; of two the earlier stays.

CREATE TABLE IF NOT EXISTS watch_events/*@_local ON CLUSTER '{cluster}'*/
(
    event_id String,
    event_time DateTime64(9, 'UTC'),
    kind LowCardinality(String),
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    version LowCardinality(String),
    deployment_id String,
    deployment_start_time DateTime64(9, 'UTC'),
    baseline_version LowCardinality(String),
    metric LowCardinality(String),
    baseline Float64,
    candidate Float64,
    difference Float64,
    difference_lower Float64,
    difference_upper Float64,
    threshold Float64,
    baseline_count UInt64,
    candidate_count UInt64,
    summary String,
    earliness UInt64 MATERIALIZED 9223372036854775807 - toUnixTimestamp64Nano(event_time)
)
ENGINE = /*@Replicated*/ReplacingMergeTree(earliness)
ORDER BY (experiment, event_id);

/*@
CREATE TABLE IF NOT EXISTS watch_events ON CLUSTER '{cluster}' AS watch_events_local
ENGINE = Distributed('{cluster}', currentDatabase(), watch_events_local, cityHash64(experiment));
*/

CREATE TABLE IF NOT EXISTS watch_deliveries/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    event_id String,
    channel LowCardinality(String),  -- webhook or otlp
    delivered Bool,  -- else it was given up
    attempts UInt32,
    delivery_time DateTime64(9, 'UTC')
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (experiment, event_id, channel);

/*@
CREATE TABLE IF NOT EXISTS watch_deliveries ON CLUSTER '{cluster}' AS watch_deliveries_local
ENGINE = Distributed('{cluster}', currentDatabase(), watch_deliveries_local, cityHash64(experiment));
*/
