-- The door for OTLP logs: one row per ResourceLogs; see 0001.

CREATE TABLE IF NOT EXISTS otlp_logs_inbox /*@ON CLUSTER '{cluster}'*/
(
    resource Tuple(
        attributes Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))),
        dropped_attributes_count UInt32,
        entity_refs Array(String)),
    schema_url LowCardinality(String),
    experiment LowCardinality(String),
    `scope_logs.scope` Array(Tuple(
        name LowCardinality(String),
        version LowCardinality(String),
        attributes Array(String),
        dropped_attributes_count UInt32)),
    `scope_logs.schema_url` Array(LowCardinality(String)),
    `scope_logs.log_records` Array(Array(Tuple(
        time_unix_nano UInt64,
        observed_time_unix_nano UInt64,
        severity_number Int32,
        severity_text LowCardinality(String),
        event_name LowCardinality(String),
        body Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String),
        attributes Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))),
        dropped_attributes_count UInt32,
        flags UInt32,
        trace_id String,
        span_id String)))
)
ENGINE = Null;
