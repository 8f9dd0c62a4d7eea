-- Which spans are on a page, every field of OTLP included? In the order of their key, after one key
-- and up to another; a retried one may come twice. Columns are those of spans/list, after the trace.

SELECT
    s.trace_id,
    s.span_id,
    s.parent_span_id,
    s.flags,
    s.kind,
    s.start_time,
    s.duration_ns,
    s.status_code,
    s.adjusted_count,
    s.name,
    s.experiment,
    s.git_commit,
    s.git_branch,
    s.git_dirty,
    s.repository_url,
    s.resource_attributes,
    s.resource_attribute_types,
    s.resource_schema_url,
    s.scope_name,
    s.scope_version,
    s.scope_schema_url,
    s.attributes,
    s.attribute_types,
    s.events,
    s.rare
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
    AND (
        toStartOfMinute(s.start_time) < toDateTime({last_minute:UInt32}, 'UTC')
        OR s.trace_id < toFixedString(unhex({last_trace_id:String}), 16)
        OR (
            s.trace_id = toFixedString(unhex({last_trace_id:String}), 16)
            AND (s.start_time, s.span_id) <= (fromUnixTimestamp64Nano({last_start_ns:Int64}, 'UTC'), toFixedString(unhex({last_span_id:String}), 8))))
ORDER BY toStartOfMinute(s.start_time), s.trace_id, s.start_time, s.span_id;
