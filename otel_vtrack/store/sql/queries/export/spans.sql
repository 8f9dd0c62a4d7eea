-- Return the spans after a key, up to a minute, as OTLP. In the order of their key and in the form
-- of `Span` in otlp_export.proto, in which the engine encodes them; a retried one may occur twice.
--
-- `place` has the minute of the key, the start, and the two halves of a hash of the span's
-- experiment, adjusted count, resource and scope, which export/span_groups returns.

WITH
    -- A protobuf varint: seven bits a byte, the lowest first.
    (n -> multiIf(
        n < 128, char(n),
        n < 16384, char(bitOr(n, 128), bitShiftRight(n, 7)),
        n < 2097152, char(bitOr(n, 128), bitOr(bitShiftRight(n, 7), 128), bitShiftRight(n, 14)),
        arrayStringConcat(arrayMap(
            at -> char(bitOr(bitShiftRight(n, 7 * at), if(bitShiftRight(bitShiftRight(n, 7 * at), 7) = 0, 0, 128))),
            arrayFilter(at -> at = 0 OR bitShiftRight(n, 7 * at) > 0, range(10)))))) AS varint,
    ((key, value) -> concat('\n', varint(length(key)), toString(key), '\x12', varint(length(value)), value)) AS pair,
    -- An AnyValue from its kind and text: the field's tag and its content. Each use of varint costs
    -- a millisecond before the first row.
    ((kind, text) -> concat(
        substring('\n\x10\x18!*2:', kind, 1),
        multiIf(
            kind = 2, char(text = 'true'),
            kind = 4, substring(reinterpretAsFixedString(toFloat64(text)), 1, 8),
            kind = 0, '',
            varint(if(kind = 3, reinterpretAsUInt64(toInt64(text)), length(text)))),
        if(kind IN (1, 5, 6, 7), text, ''))) AS value_of,
    -- The inbox's form: one of its members is set, the others are empty.
    (any -> concat(
        substring('\n\x10\x18!*2:', toUInt8(any.value), 1),
        multiIf(
            any.value = 'bool_value', char(any.bool_value),
            any.value = 'double_value', substring(reinterpretAsFixedString(any.double_value), 1, 8),
            any.value = 'none', '',
            varint(if(
                any.value = 'int_value',
                reinterpretAsUInt64(any.int_value),
                length(any.string_value) + length(any.array_value) + length(any.kvlist_value) + length(any.bytes_value)))),
        any.string_value, any.array_value, any.kvlist_value, any.bytes_value)) AS sent,
    sipHash128(s.experiment, s.adjusted_count, s.resource_attributes, s.resource_attribute_types, s.resource_dropped_attributes_count, s.resource_entity_refs, s.resource_schema_url, s.scope_name, s.scope_version, s.scope_attributes, s.scope_dropped_attributes_count, s.scope_schema_url) AS sits_in
SELECT
    s.trace_id AS trace_id,
    s.span_id AS span_id,
    s.trace_state AS trace_state,
    if(s.parent_span_id = toFixedString('', 8), '', substring(s.parent_span_id, 1, 8)) AS parent_span_id,
    s.name AS name,
    s.kind AS kind,
    reinterpretAsUInt64(toUnixTimestamp64Nano(s.start_time)) AS start_time_unix_nano,
    reinterpretAsUInt64(toUnixTimestamp64Nano(s.start_time) + s.duration_ns) AS end_time_unix_nano,
    arrayMap((key, kind, text) -> pair(key, value_of(kind, text)), mapKeys(s.attributes), s.attribute_types, mapValues(s.attributes)) AS attributes,
    s.dropped_attributes_count AS dropped_attributes_count,
    arrayMap(
        event -> (event.1, event.2, arrayMap(it -> pair(it.1, sent(it.2)), event.3), event.4)::Tuple(time_unix_nano UInt64, name String, attributes Array(String), dropped_attributes_count UInt32),
        s.events) AS events,
    s.dropped_events_count AS dropped_events_count,
    s.links AS links,
    s.dropped_links_count AS dropped_links_count,
    s.status_code AS `status.code`,
    s.status_message AS `status.message`,
    s.flags AS flags,
    [
        toUInt64(toUnixTimestamp(toStartOfMinute(s.start_time))),
        reinterpretAsUInt64(toUnixTimestamp64Nano(s.start_time)),
        reinterpretAsUInt64(substring(sits_in, 1, 8)),
        reinterpretAsUInt64(substring(sits_in, 9, 8))] AS place
FROM spans AS s
WHERE toStartOfMinute(s.start_time) >= toDateTime({after_minute:UInt32}, 'UTC')
    AND toStartOfMinute(s.start_time) <= toDateTime({last_minute:UInt32}, 'UTC')
    AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND s.start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND ({experiment:String} = '' OR s.experiment = {experiment:String})
    AND (
        empty({trace_ids:Array(String)})
        OR (
            s.trace_id IN (SELECT toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16))
            AND concat(lower(hex(s.trace_id)), s.experiment) IN (SELECT arrayJoin({parts:Array(String)}))))
    AND (
        toStartOfMinute(s.start_time) > toDateTime({after_minute:UInt32}, 'UTC')
        OR s.trace_id > toFixedString(unhex({after_trace_id:String}), 16)
        OR (
            s.trace_id = toFixedString(unhex({after_trace_id:String}), 16)
            AND (s.start_time, s.span_id) > (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), toFixedString(unhex({after_span_id:String}), 8))))
ORDER BY toStartOfMinute(s.start_time), s.trace_id, s.start_time, s.span_id;
