-- Return the mean and deviation of tokens per trace for versions whose roots started in some time
-- ranges. One row for each range in which any trace reports usage, by its number from 1.
--
-- Samples one in so many traces of each range, by their IDs. No version of a place has two ranges.
-- The rows of a trace are merged before traces are selected; rows of other days are not read. Usage
-- of spans below others is excluded as in analysis/tokens. A trace counts as many times as it
-- represents: the deviation divided by the square root of the count is the standard error of the
-- mean.

WITH
    0xFFFFFFFF AS low,
    0x3FFFFFFF AS position,
    (x -> bitAnd(bitShiftRight(x, 30), 3)) AS kind_of,
    (x -> bitShiftRight(x, 32)) AS id_of,
    arrayMap(
        (experiment, service_name, environment, version) -> cityHash64(experiment, service_name, environment, version),
        {experiments:Array(String)}, {service_names:Array(String)}, {environments:Array(String)}, {versions:Array(String)}) AS keys,
    arrayMap(one_in -> intDiv(0xFFFFFFFFFFFFFFFF, one_in), {ones_in:Array(UInt64)}) AS chosen
SELECT
    e.number AS number,
    length(e.tokens) AS trace_count,
    arraySum(arrayMap((w, t) -> w * t, e.weights, e.tokens)) / arraySum(e.weights) AS mean,
    if(trace_count < 2, 0, sqrt(
        arraySum(arrayMap((w, t) -> pow(w * (t - mean), 2), e.weights, e.tokens)) * trace_count * trace_count / (trace_count - 1)) / arraySum(e.weights)) AS deviation
FROM
(
    SELECT
        c.number AS number,
        groupArray(c.adjusted_count) AS weights,
        groupArray(arraySum((u, keep) -> toFloat64(u.4) * keep, c.reported, c.counted)) AS tokens
    FROM
    (
        SELECT
            *,
            if(length(reported) < 2,
                arrayWithConstant(length(reported), 1::UInt8),
                arrayMap(
                    x -> NOT (bitTest(walked[bitAnd(x, position)], 32) AND bitAnd(walked[bitAnd(x, position)], low) = 0),
                    arrayFilter((d, x) -> kind_of(x) = 1, defined, entries))) AS counted
        FROM
        (
            SELECT
                *,
                -- For each span, its parent's position, or 0, with bit 32 set if that parent
                -- reports usage.
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
                            bitShiftLeft(bitAnd(x, position), 32),
                            if(kind_of(d) = 0 AND id_of(d) = id_of(x) AND id_of(x) != 0 AND bitAnd(d, position) != bitAnd(x, position), bitAnd(d, position), 0)),
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
                                -- The least tuple is the root's, so the values after its first
                                -- three fields are, too.
                                min((
                                    p.root.rank,
                                    p.root.start_time,
                                    p.root.span_id,
                                    transform(
                                        cityHash64(toString(p.experiment), p.root.service_name, p.root.environment, p.root.version),
                                        keys, arrayEnumerate(keys), 0)::UInt32)) AS r,
                                r.4 AS number,
                                toFloat64(max(p.adjusted_count)) AS adjusted_count,
                                arrayCompact(arraySort(groupArrayArray(p.usage))) AS reported,
                                if(length(reported) < 2, [], arrayCompact(arraySort(groupArrayArray(p.edges)))) AS walk
                            FROM traces AS p
                            WHERE cityHash64(p.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, arrayMin({ones_in:Array(UInt64)}))
                                AND p.experiment IN {experiments:Array(String)}
                                -- No trace lasts longer than a day.
                                AND p.start_time >= fromUnixTimestamp64Nano(arrayMin({froms_ns:Array(Int64)}), 'UTC') - INTERVAL 1 DAY
                                AND p.start_time <= fromUnixTimestamp64Nano(arrayMax({untils_ns:Array(Int64)}), 'UTC') + INTERVAL 1 DAY
                                -- Only traces with a row that may have such a root; the others need
                                -- not be merged.
                                AND p.trace_id IN
                                (
                                    SELECT q.trace_id
                                    FROM traces AS q
                                    WHERE q.experiment IN {experiments:Array(String)}
                                        AND q.root.version IN {versions:Array(String)}
                                        AND q.root.service_name IN {service_names:Array(String)}
                                        AND q.root.environment IN {environments:Array(String)}
                                        AND (empty({days:Array(Date)}) OR toDate(q.start_time) IN {days:Array(Date)})
                                        AND cityHash64(q.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, arrayMin({ones_in:Array(UInt64)}))
                                )
                            GROUP BY p.trace_id, p.experiment
                            HAVING number > 0
                                AND r.1 < 2
                                AND toUnixTimestamp64Nano(r.2) >= {froms_ns:Array(Int64)}[number]
                                AND toUnixTimestamp64Nano(r.2) < {untils_ns:Array(Int64)}[number]
                                AND cityHash64(p.trace_id) <= chosen[number]
                                AND length(reported) > 0
                        )
                    )
                )
            )
        )
    ) AS c
    GROUP BY number
) AS e
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
