-- How long did entry spans of versions take that began in some times, how many failed, and which
-- models did their spans ask? A row for each time in which there are any, by its number from 1.
--
-- Of one in so many traces of each time, chosen by their ids. Spans, clusters and what is summed up
-- over them are as in timeline/windows.

WITH
    -- What quantiles need, for analysis.statistics; as in analysis/compare.
    (sorted -> if(length(sorted) <= 1000, sorted, arrayFlatten(arrayMap(p -> [
        sorted[toInt64(ceil(round(length(sorted) * p, 6)))],
        sorted[toInt64(floor(length(sorted) * p - 1.959964 * sqrt(length(sorted) * p * (1 - p))))],
        sorted[toInt64(ceil(length(sorted) * p + 1.959964 * sqrt(length(sorted) * p * (1 - p)))) + 1]],
        [0.5, 0.95, 0.99])))) AS ranked
SELECT
    c.number AS number,
    toUInt64(sum(c.n)) AS trace_count,
    toUInt64(sum(c.f)) AS error_count,
    count() AS cluster_count,
    sum(c.n * c.n) AS nn,
    sum(c.n * c.f) AS nf,
    sum(c.f * c.f) AS ff,
    ranked(arraySort(groupArrayArray(c.durations))) AS durations,
    arraySort(groupUniqArrayArray(100)(c.models)) AS models
FROM
(
    SELECT
        t.number AS number,
        toFloat64(count()) AS n,
        toFloat64(countIf(t.entry.2 = 2)) AS f,
        groupArray(greatest(t.entry.1, 0) / 1e6) AS durations,
        groupUniqArrayArray(100)(t.models) AS models
    FROM
    (
        WITH
            (s.parent_span_id = toFixedString('', 8) OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5))) AS is_entry
        SELECT
            w.number AS number,
            s.trace_id AS trace_id,
            argMinIf((s.duration_ns, s.status_code), (s.start_time, s.span_id), is_entry) AS entry,
            max(s.session_id) AS session,
            groupUniqArrayIf(100)(toString(s.model), s.model != '') AS models
        FROM spans AS s
        INNER JOIN
        (
            SELECT
                each.1 AS number, each.2 AS experiment, each.3 AS service_name, each.4 AS environment,
                each.5 AS version, each.6 AS from_ns, each.7 AS until_ns, each.8 AS one_in
            FROM
            (
                SELECT arrayJoin(arrayZip(
                    arrayEnumerate({versions:Array(String)}), {experiments:Array(String)}, {service_names:Array(String)},
                    {environments:Array(String)}, {versions:Array(String)}, {froms_ns:Array(Int64)}, {untils_ns:Array(Int64)},
                    {ones_in:Array(UInt64)})) AS each
            )
        ) AS w
            ON w.experiment = s.experiment AND w.service_name = s.service_name AND w.environment = s.environment AND w.version = s.version
        PREWHERE s.version IN {versions:Array(String)}
            AND s.service_name IN {service_names:Array(String)}
            AND s.environment IN {environments:Array(String)}
            AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, arrayMin({ones_in:Array(UInt64)}))
        WHERE (empty({days:Array(Date)}) OR toDate(s.start_time) IN {days:Array(Date)})
            AND toUnixTimestamp64Nano(s.start_time) >= w.from_ns
            AND toUnixTimestamp64Nano(s.start_time) < w.until_ns
            AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, w.one_in)
        GROUP BY number, trace_id
        HAVING max(is_entry)
    ) AS t
    GROUP BY number, t.session, if(t.session = '', t.trace_id, toFixedString('', 16))
) AS c
GROUP BY number
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
