-- What do the spans of these traces say, in these minutes, of what a list of traces shows?
--
-- `places` are ids, each with the minute after it in seconds since 1970, with commas between: an
-- array of as many takes longer to read than to split. Columns as they are, since each function
-- takes longer to plan than to run: query.near makes of them what mapping/traces_from_spans does,
-- and looks for what is said in the attributes of few of the spans.

SELECT
    s.trace_id AS trace_id,
    s.shared AS shared,
    s.start_time AS start_time,
    s.span_id AS span_id,
    s.parent_span_id AS parent_span_id,
    xxHash32(s.span_id) AS short_id,
    xxHash32(s.parent_span_id) AS parent_short_id,
    s.duration_ns AS duration_ns,
    s.input_tokens AS input_tokens,
    s.output_tokens AS output_tokens,
    s.total_tokens AS total_tokens,
    s.cache_read_input_tokens AS cache_read,
    s.cache_creation_input_tokens AS cache_creation,
    s.service_name AS service_name,
    s.version AS version,
    s.environment AS environment,
    s.deployment_id AS deployment_id,
    s.session_id AS session_id,
    s.user_id AS user_id,
    s.model AS model,
    s.provider AS provider,
    s.cost AS cost,
    s.git_commit AS git_commit,
    s.git_branch AS git_branch,
    s.git_dirty AS git_dirty,
    s.repository_url AS repository_url,
    s.resource_attributes.keys AS resource_names,
    s.resource_attributes.values AS resource_texts,
    s.attributes.keys AS attribute_names,
    s.attributes.values AS attribute_texts
FROM spans AS s
PREWHERE (toStartOfMinute(s.start_time), s.trace_id) IN
(
    SELECT toDateTime(toUInt32OrZero(substring(at, 33)), 'UTC'), toFixedString(unhex(substring(at, 1, 32)), 16)
    FROM (SELECT arrayJoin(splitByChar(',', {places:String})) AS at)
)
LIMIT {most:UInt64}
-- Whoever looks at the last traces looks again, and unpacking is half of the time. Neither a second
-- thread nor a search for a better plan gains what it costs, and each block costs as much as
-- twenty rows: they may be large.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, use_uncompressed_cache = 1,
    preferred_block_size_bytes = 16000000,
    max_result_bytes = 64000000, result_overflow_mode = 'throw';
