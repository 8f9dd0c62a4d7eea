-- Return the chargeable items of very many traces, like the view `trace_charges`.
--
-- Structured like traces/wholes. A part of traces/costs.

SELECT
    trace_id,
    experiment,
    at_ns,
    arrayMap(
        (n, up, i) -> (
            n.1.2, n.1.3, n.1.4, n.2.2, n.2.3, n.2.4, n.2.5, n.2.6 != '', n.3,
            up, i.1 > 0, i.1 > 0 AND i.2 = toInt64(n.1.2) AND i.3 = toInt64(n.1.3)),
        priced, above, arrayMap(
            (end, start) -> (toInt64(end.1 - start.1), toInt64(end.2 - start.2), toInt64(end.3 - start.3)),
            so_far,
            arrayPopBack(arrayPushFront(so_far, (0::UInt64, 0::UInt64, 0::UInt64)))))
        ::Array(Tuple(
            input_tokens UInt64,
            output_tokens UInt64,
            total_tokens UInt64,
            model String,
            provider String,
            cache_read UInt64,
            cache_creation UInt64,
            tells Bool,
            told Float64,
            above UInt64,
            has_inner Bool,
            same Bool)) AS charges
FROM
(
    SELECT *, arrayFilter(
        (so_far, each) -> each.2,
        arrayZip(
            arrayCumSum(each -> toUInt64(NOT each.2), below),
            arrayCumSum(each -> each.3, below),
            arrayCumSum(each -> each.4, below)),
        below) AS so_far
    FROM
    (
        -- The items directly below each item are sorted before it.
        SELECT *, arraySort(arrayConcat(
            arrayFilter(x -> x.1 != 0, arrayMap((up, n) -> (up, false, n.1.2, n.1.3), above, priced)),
            arrayMap(nth -> (toUInt64(nth), true, 0::UInt64, 0::UInt64), arrayEnumerate(priced)))) AS below
        FROM
        (
            SELECT *, if(
                nested,
                arrayFilter((up, is) -> is, arrayMap(x -> if(x.1 != 0, 0, x.2), climbed), is_priced),
                arrayMap(id -> 0::UInt64, priced_ids)) AS above
            FROM
            (
                -- With doubling strides; a cycle never reaches an end.
                SELECT *, arrayFold(
                    (at, stride) -> arrayMap(x -> (at[x.1].1, if(x.2 != 0, x.2, at[x.1].2)), at),
                    range(toUInt8(ceil(log2(length(ids) + 1))) + 1),
                    arrayMap(parent -> (toUInt64(parent), toUInt64(places[parent])), parents)) AS climbed
                FROM
                (
                    -- The index of each span among those priced, 0 if it is not priced.
                    SELECT *, arrayMap((is, nth) -> toUInt64(if(is, nth, 0)), is_priced, arrayCumSum(is_priced)) AS places
                    FROM
                    (
                        SELECT
                            *,
                            arrayMap(
                                next -> next.2,
                                arrayFilter((next, each) -> NOT each.2, arrayPopFront(arrayPushBack(marked, (0::UInt32, false))), marked)) AS is_priced,
                            arrayMap(
                                (edge, answer) -> if(bitAnd(edge, 0xFFFFFFFF) IN (0, bitShiftRight(edge, 32)), 0, answer.2),
                                ups,
                                arraySort(arrayMap(
                                    (question, answer) -> (question.3, if(NOT answer.2 AND answer.1 = question.1, answer.3, 0)),
                                    arrayFilter(each -> each.2, asked),
                                    arrayFilter((answer, each) -> each.2, arrayFill(each -> NOT each.2, asked), asked)))) AS parents
                        FROM
                        (
                            -- Find each span's parent. Spans and lookups are sorted together, so
                            -- that each lookup follows its result, which is faster than searching
                            -- for each. Likewise, a priced span is followed by its own marker.
                            SELECT
                                *,
                                arraySort(arrayConcat(
                                    arrayMap((id, nth) -> (id, false, nth), ids, arrayEnumerate(ids)),
                                    arrayMap((edge, nth) -> (toUInt32(bitAnd(edge, 0xFFFFFFFF)), true, nth), ups, arrayEnumerate(ups)))) AS asked,
                                arraySort(arrayConcat(arrayMap(id -> (id, false), ids), if(nested, arrayMap(id -> (id, true), priced_ids), []))) AS marked
                            FROM
                            (
                                SELECT *, arrayMap(edge -> toUInt32(bitShiftRight(edge, 32)), ups) AS ids
                                FROM
                                (
                                    -- For each span, the edge with the greatest parent.
                                    SELECT *, if(nested, arraySort(arrayFilter(
                                        (edge, nth) -> nth = 1,
                                        arrayReverseSort(edges),
                                        arrayEnumerateUniq(arrayMap(edge -> bitShiftRight(edge, 32), arrayReverseSort(edges))))), []) AS ups
                                    FROM
                                    (
                                        -- Most traces have no priced span above another, and then
                                        -- no ancestry is needed.
                                        SELECT *, length(priced) > 1 AND hasAny(arrayMap(edge -> toUInt32(bitAnd(edge, 0xFFFFFFFF)), edges), priced_ids) AS nested
                                        FROM
                                        (
                                            SELECT *, arrayMap(n -> n.1.1, priced) AS priced_ids
                                            FROM
                                            (
                                                SELECT *, arrayFilter(n -> n.1.5 OR NOT isNaN(n.3), arrayZip(uses, bills, arrayMap(
                                                    -- A number, or an object of numbers.
                                                    (b, f) -> multiIf(
                                                        b.6 = '', nan,
                                                        JSONType(b.6) IN ('Int64', 'UInt64', 'Double'), if(JSONExtractFloat(b.6) >= 0, JSONExtractFloat(b.6), nan),
                                                        NOT isNaN(f[3]), f[3],
                                                        isNaN(f[1]), f[2],
                                                        isNaN(f[2]), f[1],
                                                        f[1] + f[2]),
                                                    bills,
                                                    arrayMap(
                                                        b -> if(b.6 = '', [nan, nan, nan], arrayMap(
                                                            key -> if(
                                                                JSONType(b.6, key) IN ('Int64', 'UInt64', 'Double') AND JSONExtractFloat(b.6, key) >= 0,
                                                                JSONExtractFloat(b.6, key),
                                                                nan),
                                                            ['input_cost', 'output_cost', 'total_cost'])),
                                                        bills)))) AS priced
                                                FROM
                                                (
                                                    SELECT
                                                        *,
                                                        arrayReverse(arrayFilter((u, nth) -> nth = 1, every_use, arrayEnumerateUniq(every_use.1))) AS uses,
                                                        arrayReverse(arrayFilter((b, nth) -> nth = 1, every_bill, arrayEnumerateUniq(every_bill.1))) AS bills
                                                    FROM
                                                    (
                                                        -- For each span, the greatest entry of each
                                                        -- list; both lists get the same spans.
                                                        SELECT
                                                            *,
                                                            arrayReverseSort(arrayConcat(
                                                                arrayMap(u -> (u.1, u.2, u.3, u.4, true), usage),
                                                                arrayMap(b -> (b.1, 0::UInt64, 0::UInt64, 0::UInt64, false), billing))) AS every_use,
                                                            arrayReverseSort(arrayConcat(
                                                                arrayMap(b -> (b.1, b.2, b.3, b.4, b.5, b.6), billing),
                                                                arrayMap(u -> (u.1, '', '', 0::UInt64, 0::UInt64, ''), usage))) AS every_bill
                                                        FROM
                                                        (
                                                            SELECT
                                                                p.trace_id AS trace_id,
                                                                p.experiment AS experiment,
                                                                toUnixTimestamp64Nano(p.root.start_time) AS at_ns,
                                                                p.edges AS edges,
                                                                p.usage AS usage,
                                                                p.billing AS billing
                                                            FROM /*?merged*/ traces /*merged?*/ AS p
                                                        )
                                                    )
                                                )
                                            )
                                        )
                                    )
                                )
                            )
                        )
                    )
                )
            )
        )
    )
);
