-- Which spans has a trace, every field of OTLP included? Earliest first, each once.
--
-- What may hold bytes that are not text comes in one column, `packed`: the engine's RowBinary
-- form of those columns, as hex. As columns of their own they would need functions that tell
-- text and bytes apart, and analysing these takes four times as long as all the rest.
-- The bounds are what finds the spans quickly, as parts are sorted by minute; none are meant
-- when the first lies after the last.

SELECT
    lower(hex(s.trace_id)) AS trace_id,
    lower(hex(s.span_id)) AS span_id,
    lower(hex(s.parent_span_id)) AS parent_span_id,
    s.trace_state AS trace_state,
    s.flags AS flags,
    s.name AS name,
    s.kind AS kind,
    toUnixTimestamp64Nano(s.start_time) AS start_time_unix_nano,
    s.duration_ns AS duration_ns,
    s.status_code AS status_code,
    s.status_message AS status_message,
    s.dropped_attributes_count AS dropped_attributes_count,
    s.dropped_events_count AS dropped_events_count,
    s.dropped_links_count AS dropped_links_count,
    s.scope_name AS scope_name,
    s.scope_version AS scope_version,
    s.scope_dropped_attributes_count AS scope_dropped_attributes_count,
    s.scope_schema_url AS scope_schema_url,
    s.resource_dropped_attributes_count AS resource_dropped_attributes_count,
    s.resource_schema_url AS resource_schema_url,
    s.experiment AS experiment,
    s.git_commit AS git_commit,
    s.git_branch AS git_branch,
    s.git_dirty AS git_dirty,
    s.repository_url AS repository_url,
    hex(formatRow('RowBinary',
        s.resource_attributes, s.resource_attribute_types, s.resource_entity_refs,
        s.scope_attributes,
        s.attributes, s.attribute_types,
        s.events, s.links)) AS packed
FROM spans AS s
WHERE s.trace_id = toFixedString(unhex({trace_id:String}), 16)
    AND (
        {earliest_ns:Int64} > {latest_ns:Int64}
        OR (
            s.start_time >= fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC')
            AND s.start_time <= fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC')
            -- As the key has it: the engine does not conclude this from the above.
            AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC'))
            AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC'))))
ORDER BY s.start_time, s.span_id
LIMIT 1 BY s.span_id;
