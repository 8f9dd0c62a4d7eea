-- Return very many whole traces, like the view `whole_traces`.
--
-- `merged` has one row per trace: traces/merged. The query is nested layer upon layer, because the
-- engine would otherwise expand each expression wherever its name is used. For the same reason,
-- queries that include this one set query_plan_merge_expressions = 0.

WITH (sum -> toUInt64(least(sum, 0x7FFFFFFFFFFFFFFF))) AS fitting
SELECT
    trace_id,
    experiment,
    root,
    start_time,
    end_time,
    greatest(toUnixTimestamp64Nano(end_time) - toUnixTimestamp64Nano(start_time), 0) AS duration_ns,
    if(root.session_id != '', root.session_id, of_any.1) AS session_id,
    if(root.user_id != '', root.user_id, of_any.2) AS user_id,
    length(edges) AS span_count,
    length(errors) AS error_count,
    if(empty(reported), NULL, fitting(arraySum(u -> toUInt128(u.2), counted))) AS input_tokens,
    if(empty(reported), NULL, fitting(arraySum(u -> toUInt128(u.3), counted))) AS output_tokens,
    if(empty(reported), NULL, fitting(arraySum(u -> toUInt128(u.4), counted))) AS total_tokens,
    fitting(arraySum(b -> toUInt128(b.4), billed)) AS cache_read_input_tokens,
    fitting(arraySum(b -> toUInt128(b.5), billed)) AS cache_creation_input_tokens,
    adjusted_count
FROM
(
    SELECT *, arrayFilter(b -> has(counted.1, b.1), billing) AS billed
    FROM
    (
        -- A span whose ancestry is a cycle counts.
        SELECT *, arrayFilter(
            u -> NOT nested OR walked[indexOf(ids, u.1)].1 != 0 OR NOT walked[indexOf(ids, u.1)].2,
            reported) AS counted
        FROM
        (
            -- Where the walk up has arrived, and whether it met a span that reports; strides
            -- double.
            SELECT *, arrayFold(
                (at, stride) -> arrayMap(x -> (at[x.1].1, x.2 OR at[x.1].2), at),
                range(if(nested, toUInt8(ceil(log2(length(ids) + 1))) + 1, 0)),
                arrayMap(parent -> (toUInt64(parent), reporting[parent]), parents)) AS walked
            FROM
            (
                SELECT
                    *,
                    -- The position of the parent, 0 if it is missing or the span itself.
                    arrayMap(
                        edge -> if(bitAnd(edge, 0xFFFFFFFF) IN (0, bitShiftRight(edge, 32)), 0, indexOf(ids, bitAnd(edge, 0xFFFFFFFF))),
                        spans_up) AS parents,
                    arrayMap(id -> has(reported.1, id), ids) AS reporting
                FROM
                (
                    SELECT *, arrayMap(edge -> bitShiftRight(edge, 32), spans_up) AS ids
                    FROM
                    (
                        -- For each span, the edge with the greatest parent, as in query.tokens.
                        SELECT *, arrayFilter(
                            (edge, before) -> bitShiftRight(edge, 32) != bitShiftRight(before, 32),
                            every_edge,
                            arrayPopBack(arrayPushFront(every_edge, bitXor(every_edge[1], bitShiftLeft(1::UInt64, 32))))) AS spans_up
                        FROM
                        (
                            SELECT *, if(nested, arrayReverseSort(edges), []) AS every_edge
                            FROM
                            (
                                SELECT
                                    p.trace_id AS trace_id,
                                    p.experiment AS experiment,
                                    p.root AS root,
                                    p.start_time AS start_time,
                                    p.end_time AS end_time,
                                    (p.session_id, p.user_id) AS of_any,
                                    p.edges AS edges,
                                    p.errors AS errors,
                                    p.usage AS reported,
                                    p.billing AS billing,
                                    p.adjusted_count AS adjusted_count,
                                    -- Most traces have no reporting span directly below another,
                                    -- and then no ancestry is needed.
                                    length(p.usage) > 1 AND hasAny(arrayMap(edge -> toUInt32(bitAnd(edge, 0xFFFFFFFF)), p.edges), p.usage.1) AS nested
                                FROM /*?merged*/ traces /*merged?*/ AS p
                            )
                        )
                    )
                )
            )
        )
    )
);
