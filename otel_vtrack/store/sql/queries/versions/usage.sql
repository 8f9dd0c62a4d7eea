-- Return the usage reported by the traces whose root belongs to some versions. One row per index of
-- a version, from 1, per adjusted count, model and provider, and per way to sum it.
--
-- Samples one in so many traces of each version, by their IDs. Rows more than a day outside the
-- versions' own time are not read: no trace lasts that long. The part is a filter's condition on
-- places, here on the root's.
--
-- If no reporting span has another below it and none reports a cost, spans are summed as they are
-- (`alone`), as in analysis/used: as sums, and as arrays with one element each. Such a span is
-- `dark` if it reports a total alone, which does not determine its cost. `taken` is its input plus
-- any cached tokens reported in addition to it. Sums are capped at the largest number. Each other
-- trace is an element of `others`, with columns as query.tokens takes them.

WITH
    0xFFFFFFFFFFFFFFFF AS most,
    arrayMap(
        (experiment, service_name, version) -> cityHash64(experiment, service_name, version),
        {experiments:Array(String)}, {service_names:Array(String)}, {versions:Array(String)}) AS keys,
    arrayMap(one_in -> intDiv(most, one_in), {ones_in:Array(UInt64)}) AS chosen
SELECT
    u.number,
    u.adjusted_count,
    u.alone,
    bill.model,
    bill.provider,
    used.total_tokens > 0 AND used.input_tokens = 0 AND used.output_tokens = 0 AS dark,
    toUInt64(least(sum(toUInt128(used.input_tokens)), most)),
    toUInt64(least(sum(toUInt128(used.output_tokens)), most)),
    toUInt64(least(sum(toUInt128(used.total_tokens)), most)),
    toUInt64(least(sum(toUInt128(bill.cache_read_input_tokens)), most)),
    toUInt64(least(sum(toUInt128(bill.cache_creation_input_tokens)), most)),
    toUInt64(least(sum(toUInt128(used.input_tokens) + if(toUInt128(bill.cache_read_input_tokens) + bill.cache_creation_input_tokens > used.input_tokens, toUInt128(bill.cache_read_input_tokens) + bill.cache_creation_input_tokens, 0)), most)) AS taken,
    groupArrayIf(u.at_ns, u.alone) AS at_ns,
    groupArrayIf(used.input_tokens, u.alone) AS input,
    groupArrayIf(used.output_tokens, u.alone) AS output,
    groupArrayIf(bill.cache_read_input_tokens, u.alone) AS cache_read,
    groupArrayIf(bill.cache_creation_input_tokens, u.alone) AS cache_creation,
    groupArrayIf((u.at_ns, u.edges, u.usage, u.billing), NOT u.alone) AS others
FROM
(
    SELECT
        v.number AS number,
        v.adjusted_count AS adjusted_count,
        toUnixTimestamp64Nano(v.root.start_time) AS at_ns,
        v.usage AS usage,
        v.billing AS billing,
        arrayMap(edge -> toUInt32(bitAnd(edge, 0xFFFFFFFF)), v.edges) AS parents,
        (arrayAll(cost -> cost = '', v.billing.cost)
            AND v.usage.span = v.billing.span
            AND length(arrayDistinct(v.usage.span)) = length(v.usage)
            AND (length(v.usage) < 2 OR NOT hasAny(parents, v.usage.span)))::UInt8 AS alone,
        if(NOT alone AND hasAny(parents, arrayConcat(v.usage.span, v.billing.span)), v.edges, []) AS edges
    FROM
    (
        SELECT
            min(t.root) AS root,
            transform(cityHash64(toString(t.experiment), root.service_name, root.version), keys, arrayEnumerate(keys), 0)::UInt32 AS number,
            toFloat64(max(t.adjusted_count)) AS adjusted_count,
            root.environment AS environment,
            root.deployment_id AS deployment_id,
            groupUniqArrayArray(t.edges) AS edges,
            arraySort(groupUniqArrayArray(t.usage)) AS usage,
            arraySort(groupUniqArrayArray(t.billing)) AS billing
        FROM traces AS t
        WHERE t.experiment IN {experiments:Array(String)}
            AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
            AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
            AND cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, arrayMin({ones_in:Array(UInt64)}))
            AND t.trace_id IN
            (
                SELECT s.trace_id
                FROM traces AS s
                WHERE s.experiment IN {experiments:Array(String)}
                    AND s.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
                    AND s.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
                    AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, arrayMin({ones_in:Array(UInt64)}))
                    AND s.root.version IN {versions:Array(String)}
                    AND s.root.service_name IN {service_names:Array(String)}
                    AND cityHash64(s.trace_id) <= transform(cityHash64(toString(s.experiment), s.root.service_name, s.root.version), keys, chosen, 0::UInt64)
            )
        GROUP BY t.trace_id, t.experiment
        HAVING number > 0
            AND cityHash64(t.trace_id) <= chosen[number]
            AND (notEmpty(usage) OR notEmpty(billing))
    ) AS v
    WHERE /*?places*/ 1 /*places?*/
) AS u
-- Traces that are not `alone` need not be aligned, nor occur more than once.
ARRAY JOIN
    if(u.alone, u.usage, [(0, 0, 0, 0)]::Array(Tuple(span UInt32, input_tokens UInt64, output_tokens UInt64, total_tokens UInt64))) AS used,
    if(u.alone, u.billing, [(0, '', '', 0, 0, '')]::Array(Tuple(span UInt32, model String, provider String, cache_read_input_tokens UInt64, cache_creation_input_tokens UInt64, cost String))) AS bill
GROUP BY u.number, u.adjusted_count, u.alone, bill.model, bill.provider, dark
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
