-- Return the usage reported by traces of two versions, one row per model, with columns as arrays
-- that have an element per reporting span.
--
-- `alone` are the traces in which no reporting span is above another and none reports a cost: these
-- can be summed as they are. For the others see analysis/billing.

SELECT
    u.alone,
    u.model,
    u.provider,
    groupArray(u.trace_hash),
    groupArray(u.at_ns),
    groupArray(u.input),
    groupArray(u.output),
    groupArray(u.total),
    groupArray(u.cache_read),
    groupArray(u.cache_creation)
FROM
(
    SELECT
        t.trace_hash AS trace_hash,
        t.at_ns AS at_ns,
        t.alone AS alone,
        used.input_tokens AS input,
        used.output_tokens AS output,
        used.total_tokens AS total,
        bill.model AS model,
        bill.provider AS provider,
        bill.cache_read_input_tokens AS cache_read,
        bill.cache_creation_input_tokens AS cache_creation
    FROM
    (
        SELECT
            cityHash64(t.trace_id) AS trace_hash,
            toUnixTimestamp64Nano(t.root.start_time) AS at_ns,
            arraySort(t.usage) AS usage,
            arraySort(t.billing) AS billing,
            (arrayAll(cost -> cost = '', t.billing.cost)
                AND usage.span = billing.span
                AND length(arrayDistinct(usage.span)) = length(usage)
                AND (length(usage) < 2 OR NOT hasAny(arrayMap(edge -> toUInt32(bitAnd(edge, 0xFFFFFFFF)), t.edges), usage.span)))::UInt8 AS alone
        FROM traces AS t
        WHERE cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
            AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
            AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
            AND t.experiment = {experiment:String}
            AND t.root.version IN ({baseline_version:String}, {candidate_version:String})
            AND cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, if(t.root.version = {baseline_version:String}, {baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
            AND ({service_name:String} = '' OR t.root.service_name = {service_name:String})
            AND ({environment:String} = '' OR t.root.environment = {environment:String})
            AND /*?row*/ 1 /*row?*/
    ) AS t
    -- Traces that are not `alone` need not be aligned, as they are only named.
    ARRAY JOIN
        if(t.alone, t.usage, arrayResize([(0, 0, 0, 0)]::Array(Tuple(span UInt32, input_tokens UInt64, output_tokens UInt64, total_tokens UInt64)), least(1, length(t.usage) + length(t.billing)))) AS used,
        if(t.alone, t.billing, arrayResize([(0, '', '', 0, 0, '')]::Array(Tuple(span UInt32, model String, provider String, cache_read_input_tokens UInt64, cache_creation_input_tokens UInt64, cost String)), least(1, length(t.usage) + length(t.billing)))) AS bill
) AS u
GROUP BY u.alone, u.model, u.provider
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, preferred_block_size_bytes = 16000000;
