-- What do the spans of these traces say, in these minutes, of what a list of traces shows?
--
-- `minute_ns` and `minute_trace_ids` are in step. Of attributes only those named are told, and of
-- texts as much as a preview may need. Columns as they are, for the sake of time: query.near
-- makes of them what mapping/traces_from_spans does.

SELECT
    s.trace_id,
    s.span_id,
    s.parent_span_id,
    xxHash32(s.span_id),
    xxHash32(s.parent_span_id),
    s.flags,
    s.kind,
    s.start_time,
    s.duration_ns,
    s.status_code,
    s.adjusted_count,
    s.input_tokens IS NOT NULL OR s.output_tokens IS NOT NULL OR s.total_tokens IS NOT NULL,
    ifNull(s.input_tokens, 0),
    ifNull(s.output_tokens, 0),
    ifNull(s.total_tokens, ifNull(s.input_tokens, 0) + ifNull(s.output_tokens, 0)),
    ifNull(s.cache_read_input_tokens, 0),
    ifNull(s.cache_creation_input_tokens, 0),
    s.name,
    s.service_name,
    s.version,
    s.environment,
    s.deployment_id,
    s.session_id,
    s.user_id,
    s.experiment,
    s.model,
    s.provider,
    s.cost,
    s.git_commit,
    s.git_branch,
    s.git_dirty,
    s.repository_url,
    arrayFilter(
        (told, name) -> has({resource_names:Array(String)}, name),
        s.resource_attributes::Array(Tuple(String, String)), mapKeys(s.resource_attributes)),
    arrayMap(
        told -> (told.1, told.2, if(told.2 > 4, told.3, substring(told.3, 1, {longest:UInt32}))),
        arrayFilter(
            told -> has({names:Array(String)}, told.1)
                OR told.1 LIKE 'gen\\_ai.prompt.%.content'
                OR told.1 LIKE 'gen\\_ai.completion.%.content',
            arrayZip(mapKeys(s.attributes), s.attribute_types, mapValues(s.attributes))))
FROM spans AS s
WHERE (toStartOfMinute(s.start_time), s.trace_id) IN
(
    SELECT toStartOfMinute(fromUnixTimestamp64Nano(at.1, 'UTC')), toFixedString(unhex(at.2), 16)
    FROM (SELECT arrayJoin(arrayZip({minute_ns:Array(Int64)}, {minute_trace_ids:Array(String)})) AS at)
)
LIMIT {most:UInt64}
-- Whoever looks at the last traces looks again, and unpacking is half of the time.
SETTINGS max_threads = 1, use_uncompressed_cache = 1;
