-- The rows of `trace_tags` once more, by trace: a page of traces asks for the tags of each, and
-- these lie all over that table, which is by key.

CREATE TABLE IF NOT EXISTS tags_of_traces/*@_local ON CLUSTER '{cluster}'*/
(
    trace_id FixedString(16),
    key LowCardinality(String),
    value String CODEC(ZSTD(1)),
    changed_at Int64 CODEC(ZSTD(1)),
    deleted UInt8
)
ENGINE = /*@Replicated*/ReplacingMergeTree(changed_at)
ORDER BY (trace_id, key)
SETTINGS index_granularity = 256, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS tags_of_traces ON CLUSTER '{cluster}' AS tags_of_traces_local
ENGINE = Distributed('{cluster}', currentDatabase(), tags_of_traces_local, cityHash64(trace_id));
*/
