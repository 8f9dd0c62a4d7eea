-- The door for OTLP traces: one row per ResourceSpans. It keeps nothing; mapping/ reads from it.
--
-- Columns are the paths of otlp_view.proto, one column a leaf where that is safe: the cost of
-- an insert is mostly the analysis of the views, and that grows with the length of the types.
-- Messages that may be absent (status, an attribute's value) stay tuples, because the reader
-- leaves a hole in a path through an absent message and the arrays no longer line up.
-- `value` inside an AnyValue says which member of the oneof was set (that is the setting
-- input_format_protobuf_oneof_presence), so 0, false and '' differ from "not set".

CREATE TABLE IF NOT EXISTS otlp_traces_inbox /*@ON CLUSTER '{cluster}'*/
(
    resource Tuple(
        attributes Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))),
        dropped_attributes_count UInt32,
        entity_refs Array(String)),
    schema_url LowCardinality(String),
    experiment LowCardinality(String),
    `scope_spans.scope` Array(Tuple(
        name LowCardinality(String),
        version LowCardinality(String),
        attributes Array(String),
        dropped_attributes_count UInt32)),
    `scope_spans.schema_url` Array(LowCardinality(String)),
    `scope_spans.spans.trace_id` Array(Array(String)),
    `scope_spans.spans.span_id` Array(Array(String)),
    `scope_spans.spans.trace_state` Array(Array(String)),
    `scope_spans.spans.parent_span_id` Array(Array(String)),
    `scope_spans.spans.flags` Array(Array(UInt32)),
    `scope_spans.spans.name` Array(Array(LowCardinality(String))),
    `scope_spans.spans.kind` Array(Array(Int32)),
    `scope_spans.spans.start_time_unix_nano` Array(Array(UInt64)),
    `scope_spans.spans.end_time_unix_nano` Array(Array(UInt64)),
    `scope_spans.spans.attributes` Array(Array(Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))))),
    `scope_spans.spans.dropped_attributes_count` Array(Array(UInt32)),
    `scope_spans.spans.events` Array(Array(Array(Tuple(time_unix_nano UInt64, name LowCardinality(String), attributes Array(Tuple(key LowCardinality(String), value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, array_value String, kvlist_value String, bytes_value String))), dropped_attributes_count UInt32)))),
    `scope_spans.spans.dropped_events_count` Array(Array(UInt32)),
    `scope_spans.spans.links` Array(Array(Array(String))),
    `scope_spans.spans.dropped_links_count` Array(Array(UInt32)),
    `scope_spans.spans.status` Array(Array(Tuple(message String, code Int32)))
)
ENGINE = Null;
