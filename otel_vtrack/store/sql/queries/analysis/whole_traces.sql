-- Return the traces of two versions, one row each: their version, properties and duration.
--
-- analysis/traces is faster, but returns only the traces that have one row in the table; this one
-- returns all. The version is that of the root, so the rows of a trace are merged before traces are
-- selected. Rows more than a day outside the time range are not read: no trace lasts that long.
-- Columns have a fixed width, so that the bytes of the result are an array: texts are hashes, 0 for
-- none, which analysis/levels resolves. With `any_version` the root may have any version and be
-- anywhere. The conditions on traces are inserted at the marked places, as in traces/find; `also`
-- is a further condition on rows, and `chosen` selects the possible traces in another way.

SELECT
    c.id AS trace_id,
    cityHash64(c.id) AS trace_hash,
    c.r.1 AS rank,
    c.r.4 AS side,
    c.r.5 AS failed,
    toUnixTimestamp64Nano(c.r.2) AS start_ns,
    c.ms AS ms,
    -- Traces of one session are not independent; one without a session is a cluster of its own.
    multiIf(c.r.9 != 0, c.r.9, c.session_id != '', cityHash64(c.session_id), trace_hash) AS cluster,
    c.r.6 AS route,
    c.r.7 AS service,
    c.r.8 AS environment,
    if(empty(c.models), 0, cityHash64(arrayStringConcat(c.models, ', '))) AS model,
    multiIf(c.r.10 != 0, c.r.10, c.user_id != '', cityHash64(c.user_id), 0) AS user,
    c.adjusted_count AS adjusted_count
FROM
(
        SELECT
            trace_id AS id,
            -- The least tuple is the root's, so the values after its first three fields are, too.
            min((
                root.rank,
                root.start_time,
                root.span_id,
                multiIf(
                    {any_version:UInt8}, 3,
                    {service_name:String} != '' AND root.service_name != {service_name:String}, 0,
                    {environment:String} != '' AND root.environment != {environment:String}, 0,
                    root.version = {baseline_version:String}, 1,
                    root.version = {candidate_version:String}, 2,
                    0),
                root.status_code = 2,
                if(root.name = '', 0, cityHash64(root.name)),
                if(root.service_name = '', 0, cityHash64(root.service_name)),
                if(root.environment = '', 0, cityHash64(root.environment)),
                if(root.session_id = '', 0, cityHash64(root.session_id)),
                if(root.user_id = '', 0, cityHash64(root.user_id)))) AS r,
            greatest(toUnixTimestamp64Nano(max(end_time)) - toUnixTimestamp64Nano(min(start_time)), 0) / 1e6 AS ms,
            max(session_id) AS session_id,
            max(user_id) AS user_id,
            max(adjusted_count) AS adjusted_count,
            arrayFilter(m -> m != '', arrayCompact(arraySort(groupArrayArray(billing.model)))) AS models
        FROM traces
        WHERE cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
            AND start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
            AND start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
            AND experiment = {experiment:String}
            -- Only traces with a row that may have such a root; the others need not be merged.
            AND /*?chosen*/ cityHash64(trace_id) GLOBAL IN
            (
                SELECT cityHash64(trace_id)
                FROM traces
                WHERE cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
                    AND start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
                    AND start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
                    AND experiment = {experiment:String}
                    AND root.version IN ({baseline_version:String}, {candidate_version:String})
                    AND cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, if(root.version = {baseline_version:String}, {baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
            ) /*chosen?*/
            AND /*?some*/ cityHash64(trace_id) GLOBAL IN
            (
                SELECT cityHash64(t.trace_id)
                FROM whole_traces AS t
                WHERE t.trace_id IN
                    (
                        SELECT t.trace_id
                        FROM traces AS t
                        WHERE cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
                            AND /*?row*/ 1 /*row?*/
                    )
                    AND cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
                    AND /*?whole*/ 1 /*whole?*/
            ) /*some?*/
            AND /*?also*/ 1 /*also?*/
        GROUP BY trace_id
        HAVING r.4 > 0
            AND ({any_version:UInt8} OR r.2 >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND r.2 <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND /*?own_times*/ 1 /*own_times?*/)
            AND cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, multiIf(r.4 = 1, {baseline_one_in:UInt64}, r.4 = 2, {candidate_one_in:UInt64}, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64})))
) AS c
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
