-- What do the traces say they used whose root a version made? One row a trace that reports any.
--
-- Rows outside of a day around the version's own time are not read: no trace lasts that long.
-- Columns as query.tokens takes them; where no span that reports has another below it, nobody
-- asks which is above which. The part is what a filter of the search language says of places,
-- here of the root's.

SELECT
    toUnixTimestamp64Nano(v.root.start_time) AS at_ns,
    if(hasAny(arrayMap(edge -> toUInt32(bitAnd(edge, 0xFFFFFFFF)), v.edges), arrayConcat(v.usage.span, v.billing.span)), v.edges, []) AS edges,
    v.usage AS usage,
    v.billing AS billing
FROM
(
    SELECT
        min(t.root) AS root,
        min(t.root).environment AS environment,
        min(t.root).deployment_id AS deployment_id,
        groupUniqArrayArray(t.edges) AS edges,
        groupUniqArrayArray(t.usage) AS usage,
        groupUniqArrayArray(t.billing) AS billing
    FROM traces AS t
    WHERE t.experiment = {experiment:String}
        AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
        AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
        AND cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
        AND t.trace_id IN
        (
            SELECT s.trace_id
            FROM traces AS s
            WHERE s.experiment = {experiment:String}
                AND s.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
                AND s.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
                AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
                AND s.root.version = {version:String}
                AND s.root.service_name = {service_name:String}
        )
    GROUP BY t.trace_id
    HAVING root.version = {version:String}
        AND root.service_name = {service_name:String}
        AND (notEmpty(usage) OR notEmpty(billing))
) AS v
WHERE /*?places*/ 1 /*places?*/;
