-- Return the experiment, adjusted count, resource and scope for each of these hashes from
-- export/spans.

WITH
    sipHash128(s.experiment, s.adjusted_count, s.resource_attributes, s.resource_attribute_types, s.resource_dropped_attributes_count, s.resource_entity_refs, s.resource_schema_url, s.scope_name, s.scope_version, s.scope_attributes, s.scope_dropped_attributes_count, s.scope_schema_url) AS sits_in
SELECT
    sits_in,
    s.adjusted_count,
    s.resource_dropped_attributes_count,
    s.scope_dropped_attributes_count,
    s.experiment,
    s.resource_attributes,
    s.resource_attribute_types,
    s.resource_entity_refs,
    s.resource_schema_url,
    s.scope_name,
    s.scope_version,
    s.scope_attributes,
    s.scope_schema_url
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
    AND sits_in IN (SELECT toFixedString(unhex(arrayJoin({hashes:Array(String)})), 16))
LIMIT 1 BY sits_in;
