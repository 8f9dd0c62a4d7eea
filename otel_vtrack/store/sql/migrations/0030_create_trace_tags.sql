-- Tags of traces: what telemetry says and what people set, one row a trace and key.
--
-- A trace has the same tags in each experiment that it crosses. Of a key's rows the one with the
-- greatest `changed_at` wins; a deletion is a row as well. What people do always wins over
-- telemetry, late or retried, whatever its sender's clock says: people's `changed_at` is the time
-- in nanoseconds since 1970, and telemetry's is below zero, the earliest span's the greatest.

CREATE TABLE IF NOT EXISTS trace_tags/*@_local ON CLUSTER '{cluster}'*/
(
    key LowCardinality(String),  -- up to 250 characters
    trace_id FixedString(16),
    value String CODEC(ZSTD(1)),  -- up to 4096 characters
    changed_at Int64 CODEC(ZSTD(1)),
    deleted UInt8 DEFAULT 0
)
ENGINE = /*@Replicated*/ReplacingMergeTree(changed_at)
-- By key first, for the question is what has a tag; there are few keys, so that the tags of one
-- trace are found by this order, too.
ORDER BY (key, trace_id)
SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS trace_tags ON CLUSTER '{cluster}' AS trace_tags_local
ENGINE = Distributed('{cluster}', currentDatabase(), trace_tags_local, cityHash64(trace_id));
*/
