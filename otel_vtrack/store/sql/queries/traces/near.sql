-- Return what a list of traces needs from the spans of these traces in these minutes.
--
-- `places` are IDs, each followed by the minute in seconds since 1970, separated by commas: an
-- array of that size takes longer to parse than to split. Columns are returned as stored, because
-- each function takes longer to plan than to run: query.near applies the rules of
-- mapping/traces_from_spans, and reads the attributes of few of the spans.

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
-- Callers that list the latest traces repeat the query, and decompression is half of its time.
-- Neither a second thread nor plan optimization gains what it costs. A block costs as much as
-- twenty rows, so blocks may be large.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, use_uncompressed_cache = 1,
    preferred_block_size_bytes = 16000000,
    max_result_bytes = 64000000, result_overflow_mode = 'throw';
