-- Return the tokens of traces of two versions, one row per trace, without those that report none.
--
-- A span that reports usage covers everything below it, so spans with an ancestor that reports
-- usage are left out, however far above it is. The walk goes up from all spans of a trace at once
-- and doubles its stride each time: after log2(spans) strides every ancestry has ended or is a
-- cycle. Spans whose ancestry is a cycle count as if they had no ancestors, and so do those whose
-- parent is missing or is themselves. query.tokens has the same rules in Python.

WITH
    0xFFFFFFFF AS low,
    0x3FFFFFFF AS place,
    -- Sorted together by ID, kind and place: each span (0) comes before its usage (1) and before
    -- the spans that name it as their parent (2).
    (x -> bitAnd(bitShiftRight(x, 30), 3)) AS kind_of,
    (x -> bitShiftRight(x, 32)) AS id_of
SELECT
    hash AS trace_hash,
    arraySum((u, keep) -> toFloat64(u.4) * keep, reported, counted) AS tokens
    FROM
    (
    SELECT
        *,
        if(length(reported) < 2,
            arrayWithConstant(length(reported), 1::UInt8),
            arrayMap(
                x -> NOT (bitTest(walked[bitAnd(x, place)], 32) AND bitAnd(walked[bitAnd(x, place)], low) = 0),
                arrayFilter((d, x) -> kind_of(x) = 1, defined, entries))) AS counted
    FROM
    (
        SELECT
            *,
            -- For each span, its parent's position, or 0, with bit 32 set if that parent reports
            -- usage.
            arrayFold(
                (reached, stride) -> arrayMap(x -> bitOr(reached[bitAnd(x, low)], bitAnd(x, 0x100000000)), reached),
                range(if(length(walk) = 0, 0, toUInt8(ceil(log2(length(walk)))) + 1)),
                arrayMap(p -> bitOr(p, bitShiftLeft(toUInt64(reports[p]), 32)), parents)) AS walked
        FROM
        (
            SELECT
                *,
                arrayFilter((f, x) -> kind_of(x) = 0,
                    arrayMap((x, next) -> id_of(x) = id_of(next) AND kind_of(next) = 1, entries, arrayPushBack(arrayPopFront(entries), 0)),
                    entries) AS reports,
                arrayMap(x -> bitAnd(x, low), arraySort(arrayMap(
                    (d, x) -> bitOr(
                        bitShiftLeft(bitAnd(x, place), 32),
                        if(kind_of(d) = 0 AND id_of(d) = id_of(x) AND id_of(x) != 0 AND bitAnd(d, place) != bitAnd(x, place), bitAnd(d, place), 0)),
                    arrayFilter((d, x) -> kind_of(x) = 2, defined, entries),
                    arrayFilter(x -> kind_of(x) = 2, entries)))) AS parents
            FROM
            (
                SELECT
                    *,
                    arrayFill(x -> kind_of(x) = 0, entries) AS defined
                FROM
                (
                    SELECT
                        *,
                        arraySort(arrayConcat(
                            arrayMap((e, i) -> bitOr(bitAnd(e, 0xFFFFFFFF00000000), toUInt64(i)), walk, arrayEnumerate(walk)),
                            arrayMap(u -> bitOr(bitShiftLeft(toUInt64(u.1), 32), 0x40000000), if(length(walk) = 0, [], reported)),
                            arrayMap((e, i) -> bitOr(bitShiftLeft(bitAnd(e, low), 32), bitOr(0x80000000, toUInt64(i))), walk, arrayEnumerate(walk)))) AS entries
                    FROM
                    (
        SELECT
            cityHash64(trace_id) AS hash,
            -- The least tuple is the root's, so the values after its first three fields are, too.
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
            -- Sorting costs a third of what a set per trace would.
            arrayCompact(arraySort(groupArrayArray(usage))) AS reported,
            if(length(reported) < 2, [], arrayCompact(arraySort(groupArrayArray(edges)))) AS walk
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
        GROUP BY trace_id
        HAVING r.4 > 0
            AND r.2 >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND r.2 <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, if(r.4 = 1, {baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
            AND r.1 < 2
            AND length(reported) > 0
                    )
                )
            )
        )
    )
    )
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
