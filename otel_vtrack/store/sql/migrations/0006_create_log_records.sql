-- OTLP log records: evaluation and feature-flag events among them, every field kept.
--
-- Replacing on all that a retried record repeats: records have no id, so equal ones at the same
-- nanosecond of the same resource are one.

CREATE TABLE IF NOT EXISTS log_records/*@_local ON CLUSTER '{cluster}'*/
(
    record_id UInt64,  -- hash of the record and where it came from
    time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),  -- observed time where the record has none
    time_unix_nano UInt64 CODEC(Delta, ZSTD(1)),
    observed_time_unix_nano UInt64 CODEC(Delta, ZSTD(1)),
    severity_number Int32,
    severity_text LowCardinality(String),
    event_name LowCardinality(String),
    body String CODEC(ZSTD(1)),
    body_type UInt8,
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    attribute_types Array(UInt8) CODEC(ZSTD(1)),
    dropped_attributes_count UInt32,
    flags UInt32,
    trace_id String,  -- 16 bytes, or none
    span_id String,  -- 8 bytes, or none

    scope_name LowCardinality(String),
    scope_version LowCardinality(String),
    scope_attributes Array(String),  -- each the bytes of a KeyValue
    scope_dropped_attributes_count UInt32,
    scope_schema_url LowCardinality(String),

    resource_attributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    resource_attribute_types Array(UInt8) CODEC(ZSTD(1)),
    resource_dropped_attributes_count UInt32,
    resource_entity_refs Array(String),
    resource_schema_url LowCardinality(String),

    experiment LowCardinality(String),
    service_name LowCardinality(String)
)
ENGINE = /*@Replicated*/ReplacingMergeTree
PARTITION BY toDate(time)
ORDER BY (event_name, toStartOfMinute(time), record_id)
SETTINGS min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS log_records ON CLUSTER '{cluster}' AS log_records_local
ENGINE = Distributed('{cluster}', currentDatabase(), log_records_local, record_id);
*/
