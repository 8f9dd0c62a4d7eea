-- What was said of traces, and done to what was said: one row a change, folded when read
-- (0012 has the rules).
--
-- Rows are only added, so writers do not have to know of each other. What an update leaves as it
-- was is NULL, or not in the map. Replacing, because events and inserts may be repeated: an
-- event makes the same row each time.

CREATE TABLE IF NOT EXISTS assessments/*@_local ON CLUSTER '{cluster}'*/
(
    trace_id FixedString(16),  -- all zero: of a session alone
    assessment_id String,
    change_time DateTime64(9, 'UTC'),
    change_id UInt64,
    operation Enum8('create' = 1, 'update' = 2, 'delete' = 3),  -- numbers as in assessments.proto
    experiment LowCardinality(String),
    session_id String,  -- if it is about a whole session, else ''
    assessment_name Nullable(String),
    -- JSON; '' where there is an error instead. The value and the error change together.
    value Nullable(String) CODEC(ZSTD(1)),
    -- Of a value that is a number, a boolean or 'yes' or 'no', as MLflow counts them. Only numbers
    -- have a size: `value_type` tells them apart.
    value_type LowCardinality(String) MATERIALIZED transform(
        substring(ifNull(value, ''), 1, 1),
        ['', '"', '[', '{', 't', 'f', 'n'],
        ['', 'string', 'list', 'struct', 'boolean', 'boolean', 'null'],
        'number'),
    number Nullable(Float64) MATERIALIZED multiIf(
        value_type = 'number', toFloat64OrNull(value),
        value IN ('true', '"yes"'), 1,
        value IN ('false', '"no"'), 0,
        NULL),
    error_code String,
    error_message String CODEC(ZSTD(1)),
    stack_trace String CODEC(ZSTD(1)),
    rationale Nullable(String) CODEC(ZSTD(1)),
    metadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    -- Never changed: only rows of creation have them.
    span_id FixedString(8),  -- all zero: of the trace as a whole
    assessment_type Enum8('' = 0, 'feedback' = 1, 'expectation' = 2),
    source_type Enum8('' = 0, 'HUMAN' = 1, 'LLM_JUDGE' = 2, 'CODE' = 3),
    source_id LowCardinality(String),
    overrides String,  -- id of one of the same trace, or ''

    INDEX assessment_ids assessment_id TYPE bloom_filter GRANULARITY 1,
    INDEX session_ids session_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (trace_id, assessment_id, change_time, change_id)
SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS assessments ON CLUSTER '{cluster}' AS assessments_local
ENGINE = Distributed('{cluster}', currentDatabase(), assessments_local, cityHash64(trace_id));
*/
