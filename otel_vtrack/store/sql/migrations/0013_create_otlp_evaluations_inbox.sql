-- The door for OTLP traces that hold evaluations, beside 0001: the writer hands in again what has
-- any. As a view on spans, what finds them would cost every insert the time of its analysis,
-- and few have any.

CREATE TABLE IF NOT EXISTS otlp_evaluations_inbox /*@ON CLUSTER '{cluster}'*/
(
    resource Tuple(
        attributes Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String)))),
    experiment LowCardinality(String),
    `scope_spans.spans.trace_id` Array(Array(String)),
    `scope_spans.spans.span_id` Array(Array(String)),
    `scope_spans.spans.start_time_unix_nano` Array(Array(UInt64)),
    `scope_spans.spans.end_time_unix_nano` Array(Array(UInt64)),
    `scope_spans.spans.attributes` Array(Array(Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))))),
    `scope_spans.spans.events` Array(Array(Array(Tuple(time_unix_nano UInt64, name LowCardinality(String), attributes Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))))))),
    `scope_spans.spans.links` Array(Array(Array(String)))
)
ENGINE = Null;
