-- Return some spans with every field of OTLP, unordered.
--
-- After the columns that identify and describe a span come those of spans/list, in its order, for
-- query.export to decode. The three lists are parallel; the minutes serve to find the spans.

SELECT
    s.trace_id,
    s.type,
    s.service_name,
    s.version,
    s.environment,
    s.deployment_id,
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
WHERE (toStartOfMinute(s.start_time), s.trace_id, s.span_id) IN
(
    SELECT
        toStartOfMinute(fromUnixTimestamp64Nano(at.1, 'UTC')),
        toFixedString(unhex(at.2), 16),
        toFixedString(unhex(at.3), 8)
    FROM (SELECT arrayJoin(arrayZip({start_ns:Array(Int64)}, {trace_ids:Array(String)}, {span_ids:Array(String)})) AS at)
);
