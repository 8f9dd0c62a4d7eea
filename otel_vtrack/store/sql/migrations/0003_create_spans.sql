-- Spans as they arrived: every field of OTLP has its place here, and every other table is
-- derived from this one.
--
-- Replacing, because exporters retry: the same (trace_id, span_id) may be delivered twice and
-- counts once. A retried span has the same start, hence the same partition and key.
-- ORDER BY starts with the minute so that parts of different times do not overlap and FINAL
-- has nothing to merge between them; within a minute a trace's spans lie side by side, in the
-- order in which they began, for then traces of one kind repeat column by column and take less.
-- A trace is found by its time bounds, which `traces` knows.

CREATE TABLE IF NOT EXISTS spans/*@_local ON CLUSTER '{cluster}'*/
(
    trace_id FixedString(16),
    span_id FixedString(8),
    parent_span_id FixedString(8),  -- all zero: a root
    trace_state String,
    flags UInt32,
    name LowCardinality(String),
    kind Int32,
    start_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    duration_ns Int64 CODEC(ZSTD(1)),  -- end minus start as sent, so it may be negative
    status_code Int32,
    status_message String CODEC(ZSTD(1)),
    -- Attributes are text, with the kind of AnyValue they came as beside them, in order:
    -- 0 none, 1 string, 2 bool, 3 int, 4 double; 5 array, 6 kvlist and 7 bytes are kept as the
    -- bytes of their protobuf, in which words can still be found.
    -- Three quarters of the table; level 3 takes a fifth less than 1 for 5 % of an insert.
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    attribute_types Array(UInt8) CODEC(ZSTD(1)),
    dropped_attributes_count UInt32,
    -- Events as decoded, since they are few; an attribute's `value` says which member is set.
    events Array(Tuple(
        time_unix_nano UInt64,
        name LowCardinality(String),
        attributes Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))),
        dropped_attributes_count UInt32)) CODEC(ZSTD(1)),
    dropped_events_count UInt32,
    links Array(String) CODEC(ZSTD(1)),  -- each the bytes of a Span.Link
    dropped_links_count UInt32,

    scope_name LowCardinality(String),
    scope_version LowCardinality(String),
    scope_attributes Array(String),  -- each the bytes of a KeyValue
    scope_dropped_attributes_count UInt32,
    scope_schema_url LowCardinality(String),

    resource_attributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    resource_attribute_types Array(UInt8) CODEC(ZSTD(1)),
    resource_dropped_attributes_count UInt32,
    resource_entity_refs Array(String),  -- each the bytes of an EntityRef
    resource_schema_url LowCardinality(String),

    -- What the attributes say, by the chains of docs/mapping.md; '' and NULL: nothing.
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    version LowCardinality(String),
    environment LowCardinality(String),
    deployment_id LowCardinality(String),
    git_commit LowCardinality(String),
    git_branch LowCardinality(String),
    git_dirty LowCardinality(String),
    repository_url LowCardinality(String),
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    total_tokens Nullable(UInt64)
)
ENGINE = /*@Replicated*/ReplacingMergeTree
PARTITION BY toDate(start_time)
ORDER BY (toStartOfMinute(start_time), trace_id, start_time, span_id)
-- Compact parts up to 64 MiB: a fresh part is two files instead of two a column. Merging costs
-- half as much as inserting, so it is done seldom and many parts at a time: a part joins twenty
-- of its size, and a base of 30 keeps it from joining larger ones. In 280 inserts, which are 10
-- million spans, a span is merged once instead of twice; up to 50 parts a day wait meanwhile.
-- Granules of 2,048 rows: a page of traces from all over the table is read in less than half the
-- time, for one byte in a hundred.
SETTINGS index_granularity = 2048, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)',
    min_parts_to_merge_at_once = 20, merge_selector_base = 30;

/*@
CREATE TABLE IF NOT EXISTS spans ON CLUSTER '{cluster}' AS spans_local
ENGINE = Distributed('{cluster}', currentDatabase(), spans_local, cityHash64(trace_id));
*/
