-- Aggregate inserted spans into traces: what one insert contributes to each trace.

CREATE OR REPLACE MATERIALIZED VIEW traces_from_spans /*@ON CLUSTER '{cluster}'*/ TO traces AS
WITH
    toUnixTimestamp64Nano(s.start_time) AS start_ns,
    -- A hash and not half of the id, for ids may be counted up instead of drawn.
    xxHash32(s.span_id) AS short_id,
    s.input_tokens IS NOT NULL OR s.output_tokens IS NOT NULL OR s.total_tokens IS NOT NULL AS has_usage
SELECT
    s.trace_id AS trace_id,
    s.experiment AS experiment,
    min(s.start_time) AS start_time,
    -- An end past the last time there is counts as that.
    max(fromUnixTimestamp64Nano(start_ns + least(greatest(s.duration_ns, 0), 9223372036854775807 - greatest(start_ns, 0)), 'UTC')) AS end_time,
    min((
        -- Bit 9 of the flags says that the parent is in another process, where the sender knows,
        -- which bit 8 says; else the kinds that begin work for someone else do: SERVER (2) and
        -- CONSUMER (5).
        multiIf(
            s.parent_span_id = toFixedString('', 8), 0,
            if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5)), 1,
            2)::UInt8,
        s.start_time, s.span_id, s.name, s.service_name, s.version, s.environment, s.deployment_id,
        s.status_code, s.session_id, s.user_id)) AS root,
    max(s.session_id) AS session_id,
    max(s.user_id) AS user_id,
    groupUniqArray(short_id * 4294967296 + xxHash32(s.parent_span_id)) AS edges,
    groupUniqArrayIf(short_id, s.status_code = 2) AS errors,
    groupUniqArrayIf((
        short_id,
        ifNull(s.input_tokens, 0),
        ifNull(s.output_tokens, 0),
        ifNull(s.total_tokens, toUInt64(least(toUInt128(ifNull(s.input_tokens, 0)) + ifNull(s.output_tokens, 0), 0xFFFFFFFFFFFFFFFF)))), has_usage) AS usage,
    groupUniqArrayIf((
        short_id,
        s.model,
        s.provider,
        ifNull(s.cache_read_input_tokens, 0),
        ifNull(s.cache_creation_input_tokens, 0),
        s.cost), has_usage OR s.cost != '') AS billing,
    max(s.adjusted_count) AS adjusted_count
FROM spans/*@_local*/ AS s
GROUP BY s.trace_id, s.experiment;
