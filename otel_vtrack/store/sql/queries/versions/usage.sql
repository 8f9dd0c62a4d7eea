-- What do the traces say they used whose root some versions made? One row a trace that reports any,
-- with the number of its version, from 1.
--
-- Of one in so many traces of each version, chosen by their ids. Rows outside of a day around the
-- versions' own time are not read: no trace lasts that long. Columns as query.tokens takes them;
-- where no span that reports has another below it, nobody asks which is above which. The part is
-- what a filter of the search language says of places, here of the root's.

WITH
    0xFFFFFFFFFFFFFFFF AS most,
    arrayMap(
        (experiment, service_name, version) -> cityHash64(experiment, service_name, version),
        {experiments:Array(String)}, {service_names:Array(String)}, {versions:Array(String)}) AS keys,
    arrayMap(one_in -> intDiv(most, one_in), {ones_in:Array(UInt64)}) AS chosen
SELECT
    v.number AS number,
    v.adjusted_count AS adjusted_count,
    toUnixTimestamp64Nano(v.root.start_time) AS at_ns,
    if(hasAny(arrayMap(edge -> toUInt32(bitAnd(edge, 0xFFFFFFFF)), v.edges), arrayConcat(v.usage.span, v.billing.span)), v.edges, []) AS edges,
    v.usage AS usage,
    v.billing AS billing
FROM
(
    SELECT
        min(t.root) AS root,
        transform(cityHash64(toString(t.experiment), root.service_name, root.version), keys, arrayEnumerate(keys), 0)::UInt32 AS number,
        toFloat64(max(t.adjusted_count)) AS adjusted_count,
        root.environment AS environment,
        root.deployment_id AS deployment_id,
        groupUniqArrayArray(t.edges) AS edges,
        groupUniqArrayArray(t.usage) AS usage,
        groupUniqArrayArray(t.billing) AS billing
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
WHERE /*?places*/ 1 /*places?*/;
