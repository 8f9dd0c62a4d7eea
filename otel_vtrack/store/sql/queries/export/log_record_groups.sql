-- Return the experiment, resource and scope for each of these hashes from export/log_records.
-- Columns are those of span_groups; log records have no adjusted count.

WITH
    sipHash128(r.experiment, r.resource_attributes, r.resource_attribute_types, r.resource_dropped_attributes_count, r.resource_entity_refs, r.resource_schema_url, r.scope_name, r.scope_version, r.scope_attributes, r.scope_dropped_attributes_count, r.scope_schema_url) AS sits_in
SELECT
    sits_in,
    0::Float32,
    r.resource_dropped_attributes_count,
    r.scope_dropped_attributes_count,
    r.experiment,
    r.resource_attributes,
    r.resource_attribute_types,
    r.resource_entity_refs,
    r.resource_schema_url,
    r.scope_name,
    r.scope_version,
    r.scope_attributes,
    r.scope_schema_url
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
    AND sits_in IN (SELECT toFixedString(unhex(arrayJoin({hashes:Array(String)})), 16))
LIMIT 1 BY sits_in;
