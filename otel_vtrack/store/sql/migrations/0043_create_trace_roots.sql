-- Roots by the time at which they began: the last traces of a version or an environment are found
-- at the end of this table, without the rest.
--
-- A row for each insert that touched a trace, as in `traces`, with what it knew of the root: so a
-- row may stand for a root that was not the last word, and what is found here is asked of
-- `traces` once more. Two bytes and a half a span.

CREATE TABLE IF NOT EXISTS trace_roots/*@_local ON CLUSTER '{cluster}'*/
(
    start_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    trace_id FixedString(16),
    experiment LowCardinality(String),
    root Tuple(
        rank UInt8,
        name LowCardinality(String),
        service_name LowCardinality(String),
        version LowCardinality(String),
        environment LowCardinality(String),
        deployment_id LowCardinality(String),
        status_code Int32)
)
ENGINE = /*@Replicated*/ReplacingMergeTree
PARTITION BY toDate(start_time)
ORDER BY (start_time, trace_id, experiment)
SETTINGS min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS trace_roots ON CLUSTER '{cluster}' AS trace_roots_local
ENGINE = Distributed('{cluster}', currentDatabase(), trace_roots_local, cityHash64(trace_id));
*/
