-- One row a trace and experiment, as states that do not change when the same span is fed twice.
--
-- A trace that crosses experiments (services, by default) has a row in each: what the trace was
-- there. Rows are partial until merged, so read them with GROUP BY trace_id, experiment.

CREATE TABLE IF NOT EXISTS traces/*@_local ON CLUSTER '{cluster}'*/
(
    trace_id FixedString(16),
    experiment LowCardinality(String),
    start_time SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    -- A span that ends before it starts counts as ending when it starts.
    end_time SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    -- The span that stands for the trace: the least by these fields. `rank` is 0 for a span
    -- without parent, 1 for one whose parent is in another process, 2 for any other, which
    -- means that the real one has not arrived.
    root SimpleAggregateFunction(min, Tuple(
        rank UInt8,
        start_time DateTime64(9, 'UTC'),
        span_id FixedString(8),
        name String,
        service_name String,
        version String,
        environment String,
        deployment_id String,
        status_code Int32,
        session_id String,
        user_id String)) CODEC(ZSTD(1)),
    -- Greatest of what the spans say: the answer where the root says nothing.
    session_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    user_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    -- One number a span: half of it from its own id, half from its parent's.
    edges SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64)) CODEC(ZSTD(1)),
    errors SimpleAggregateFunction(groupUniqArrayArray, Array(UInt32)) CODEC(ZSTD(1)),
    usage SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(
        span UInt32,
        input_tokens UInt64,
        output_tokens UInt64,
        total_tokens UInt64))) CODEC(ZSTD(1))
)
ENGINE = /*@Replicated*/AggregatingMergeTree
PARTITION BY toDate(start_time)
-- By hash first, so that the traces with the least hashes, which are a fair sample whatever way
-- ids are made, lie together and are read without the rest.
ORDER BY (cityHash64(trace_id), trace_id, experiment)
-- Small granules, because most reads want a few traces.
SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS traces ON CLUSTER '{cluster}' AS traces_local
ENGINE = Distributed('{cluster}', currentDatabase(), traces_local, cityHash64(trace_id));
*/
