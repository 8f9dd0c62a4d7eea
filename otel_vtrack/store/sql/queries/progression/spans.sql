-- Return durations, failures and models of versions' entry spans that started in some time ranges.
-- One row for each range that has any, by its number from 1.
--
-- Samples one in so many traces of each range, by their IDs. No version of a place has two ranges.
-- Spans, clusters and the sums over them are as in timeline/windows.

WITH
    -- The values needed for quantiles; analysis.statistics has the same levels.
    (sorted -> if(length(sorted) <= 1000, sorted, arrayFlatten(arrayMap(p -> [
        sorted[toInt64(ceil(round(length(sorted) * p, 6)))],
        sorted[toInt64(floor(length(sorted) * p - 1.959964 * sqrt(length(sorted) * p * (1 - p))))],
        sorted[toInt64(ceil(length(sorted) * p + 1.959964 * sqrt(length(sorted) * p * (1 - p)))) + 1]],
        [0.5, 0.95, 0.99])))) AS ranked,
    arrayMap(
        (experiment, service_name, environment, version) -> cityHash64(experiment, service_name, environment, version),
        {experiments:Array(String)}, {service_names:Array(String)}, {environments:Array(String)}, {versions:Array(String)}) AS keys,
    arrayMap(one_in -> intDiv(0xFFFFFFFFFFFFFFFF, one_in), {ones_in:Array(UInt64)}) AS chosen,
    -- For each version, the largest share sampled in any of its places.
    arrayMap(v -> arrayMax(arrayMap((other, most) -> if(other = v, most, 0), {versions:Array(String)}, chosen)), {versions:Array(String)}) AS chosen_anywhere,
    arraySort(groupArrayArray(c.durations)) AS pairs,
    arrayCumSum(pairs.2) AS sums,
    -- The number of traces of equal weight that would be as informative (Kish, Survey Sampling,
    -- 1965).
    sums[-1] * sums[-1] / arraySum(w -> w * w, pairs.2) AS effective_count
SELECT
    c.number AS number,
    sum(c.stored) AS stored_count,
    sum(c.n) AS trace_count,
    sum(c.f) AS error_count,
    count() AS cluster_count,
    sum(c.n * c.n) AS nn,
    sum(c.n * c.f) AS nf,
    sum(c.f * c.f) AS ff,
    arrayMin(pairs.2) < arrayMax(pairs.2) AS is_weighed,
    if(is_weighed,
        arrayFlatten(arrayMap(p -> arrayMap(
            -- Too few values lie beyond a bound at 0 or 1.
            q -> if(q > 0 AND q < 1, pairs[arrayFirstIndex(total -> total >= (q - 1e-9) * sums[-1], sums)].1, nan),
            [p, p - 1.959964 * sqrt(p * (1 - p) / effective_count), p + 1.959964 * sqrt(p * (1 - p) / effective_count)]),
            [0.5, 0.95, 0.99])),
        ranked(pairs.1)) AS durations,
    arraySort(groupUniqArrayArray(100)(c.models)) AS models
FROM
(
    SELECT
        t.number AS number,
        count() AS stored,
        sum(t.adjusted_count) AS n,
        sumIf(t.adjusted_count, t.status_code = 2) AS f,
        groupArray((greatest(t.duration_ns, 0) / 1e6, t.adjusted_count)) AS durations,
        groupUniqArrayArray(100)(t.models) AS models
    FROM
    (
        SELECT
            e.number AS number,
            e.trace_id AS trace_id,
            argMinIf(e.duration_ns, e.place, e.is_entry) AS duration_ns,
            argMinIf(e.status_code, e.place, e.is_entry) AS status_code,
            max(e.session_id) AS session,
            groupUniqArrayIf(100)(toString(e.model), e.model != '') AS models,
            toFloat64(max(e.adjusted_count)) AS adjusted_count
        FROM
        (
            SELECT
                transform(cityHash64(s.experiment, s.service_name, s.environment, s.version), keys, arrayEnumerate(keys), 0)::UInt32 AS number,
                s.trace_id AS trace_id,
                (s.parent_span_id = toFixedString('', 8) OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5))) AS is_entry,
                -- Among those that start at once, the least ID; a number is compared faster than a
                -- tuple.
                bitShiftLeft(toInt128(toUnixTimestamp64Nano(s.start_time)), 64) + reinterpretAsUInt64(reverse(s.span_id)) AS place,
                s.duration_ns AS duration_ns,
                s.status_code AS status_code,
                s.session_id AS session_id,
                s.model AS model,
                s.adjusted_count AS adjusted_count
            FROM spans AS s
            PREWHERE s.version IN {versions:Array(String)}
                AND cityHash64(s.trace_id) <= transform(s.version, {versions:Array(String)}, chosen_anywhere, 0::UInt64)
            WHERE (empty({days:Array(Date)}) OR toDate(s.start_time) IN {days:Array(Date)})
                AND number > 0
                AND cityHash64(s.trace_id) <= chosen[number]
                AND toUnixTimestamp64Nano(s.start_time) >= {froms_ns:Array(Int64)}[number]
                AND toUnixTimestamp64Nano(s.start_time) < {untils_ns:Array(Int64)}[number]
        ) AS e
        GROUP BY number, trace_id
        HAVING max(e.is_entry)
    ) AS t
    GROUP BY number, t.session, if(t.session = '', t.trace_id, toFixedString('', 16))
) AS c
GROUP BY number
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
