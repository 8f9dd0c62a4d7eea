-- Which log records are on a page, every field of OTLP included? In the order of their key, after one
-- key and up to another; a retried one may come twice. Columns of fixed size come first.

SELECT
    r.record_id,
    r.time_unix_nano,
    r.observed_time_unix_nano,
    r.severity_number,
    r.body_type,
    r.dropped_attributes_count,
    r.flags,
    r.scope_dropped_attributes_count,
    r.resource_dropped_attributes_count,
    r.experiment,
    r.severity_text,
    r.event_name,
    r.body,
    r.trace_id,
    r.span_id,
    r.attributes,
    r.attribute_types,
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
    AND (
        r.event_name < {last_event_name:String}
        OR toStartOfMinute(r.time) < toDateTime({last_minute:UInt32}, 'UTC')
        OR r.record_id <= {last_record_id:UInt64})
ORDER BY r.event_name, toStartOfMinute(r.time), r.record_id;
