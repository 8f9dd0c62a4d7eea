-- Return the log records after a key, up to an event name and minute, as OTLP. In the order of
-- their key and in the form of `LogRecord` in otlp_export.proto; a retried one may occur twice. See
-- export/spans.
--
-- `place` has the minute and record ID of the key, and the two halves of a hash of the record's
-- experiment, resource and scope, which export/log_record_groups returns.

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
    sipHash128(r.experiment, r.resource_attributes, r.resource_attribute_types, r.resource_dropped_attributes_count, r.resource_entity_refs, r.resource_schema_url, r.scope_name, r.scope_version, r.scope_attributes, r.scope_dropped_attributes_count, r.scope_schema_url) AS sits_in
SELECT
    r.time_unix_nano AS time_unix_nano,
    r.severity_number AS severity_number,
    r.severity_text AS severity_text,
    value_of(r.body_type, r.body) AS body,
    arrayMap((key, kind, text) -> pair(key, value_of(kind, text)), mapKeys(r.attributes), r.attribute_types, mapValues(r.attributes)) AS attributes,
    r.dropped_attributes_count AS dropped_attributes_count,
    r.flags AS flags,
    r.trace_id AS trace_id,
    r.span_id AS span_id,
    r.observed_time_unix_nano AS observed_time_unix_nano,
    r.event_name AS event_name,
    [
        toUInt64(toUnixTimestamp(toStartOfMinute(r.time))),
        r.record_id,
        reinterpretAsUInt64(substring(sits_in, 1, 8)),
        reinterpretAsUInt64(substring(sits_in, 9, 8))] AS place
FROM log_records AS r
WHERE r.event_name >= {after_event_name:String}
    AND r.event_name <= {last_event_name:String}
    AND r.time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND r.time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND ({experiment:String} = '' OR r.experiment = {experiment:String})
    AND (empty({trace_ids:Array(String)}) OR r.trace_id IN (SELECT unhex(arrayJoin({trace_ids:Array(String)}))))
    AND (
        r.event_name > {after_event_name:String}
        OR toStartOfMinute(r.time) > toDateTime({after_minute:UInt32}, 'UTC')
        OR (toStartOfMinute(r.time) = toDateTime({after_minute:UInt32}, 'UTC') AND r.record_id > {after_record_id:UInt64}))
    AND (
        r.event_name < {last_event_name:String}
        OR toStartOfMinute(r.time) <= toDateTime({last_minute:UInt32}, 'UTC'))
ORDER BY r.event_name, toStartOfMinute(r.time), r.record_id;
