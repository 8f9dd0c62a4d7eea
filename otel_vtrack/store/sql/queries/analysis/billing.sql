-- Return the usage reported by traces of two versions, one row per trace that reports any, with
-- columns as query.tokens takes them. analysis/used is faster, and has the traces that can be
-- summed without their tree.
--
-- If no reporting span has another below it, edges are not needed and are left out.

SELECT
    c.hash AS trace_hash,
    toUnixTimestamp64Nano(c.r.2) AS at_ns,
    if(hasAny(arrayMap(edge -> toUInt32(bitAnd(edge, 0xFFFFFFFF)), c.walk), arrayConcat(c.reported.span, c.priced.span)), c.walk, []) AS edges,
    c.reported AS usage,
    c.priced AS billing
FROM
(
        SELECT
            cityHash64(trace_id) AS hash,
            min((
                root.rank,
                root.start_time,
                root.span_id,
                multiIf(
                    {service_name:String} != '' AND root.service_name != {service_name:String}, 0,
                    {environment:String} != '' AND root.environment != {environment:String}, 0,
                    root.version = {baseline_version:String}, 1,
                    root.version = {candidate_version:String}, 2,
                    0))) AS r,
            groupUniqArrayArray(edges) AS walk,
            groupUniqArrayArray(usage) AS reported,
            groupUniqArrayArray(billing) AS priced
        FROM traces
        WHERE cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
            AND start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
            AND start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
            AND experiment = {experiment:String}
            AND /*?these*/ 1 /*these?*/
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
        GROUP BY trace_id
        HAVING r.4 > 0
            AND r.2 >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND r.2 <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, if(r.4 = 1, {baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
            AND r.1 < 2
            AND (notEmpty(reported) OR notEmpty(priced))
) AS c
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
