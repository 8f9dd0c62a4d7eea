-- How long did entry spans of versions take that began in some times, and which models did their
-- spans ask? A row for each time in which there are any, by its number from 1.
--
-- Of one in so many traces of each time, chosen by their ids. As timeline/windows chooses spans.

WITH
    -- What quantiles need, for analysis.statistics; as in analysis/compare.
    (sorted -> if(length(sorted) <= 1000, sorted, arrayFlatten(arrayMap(p -> [
        sorted[toInt64(ceil(round(length(sorted) * p, 6)))],
        sorted[toInt64(floor(length(sorted) * p - 1.959964 * sqrt(length(sorted) * p * (1 - p))))],
        sorted[toInt64(ceil(length(sorted) * p + 1.959964 * sqrt(length(sorted) * p * (1 - p)))) + 1]],
        [0.5, 0.95, 0.99])))) AS ranked
SELECT
    t.number AS number,
    count() AS trace_count,
    ranked(arraySort(groupArray(greatest(t.duration_ns, 0) / 1e6))) AS durations,
    arraySort(groupUniqArrayArray(100)(t.models)) AS models
FROM
(
    WITH
        (s.parent_span_id = toFixedString('', 8) OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5))) AS is_entry
    SELECT
        w.number AS number,
        argMinIf(s.duration_ns, (s.start_time, s.span_id), is_entry) AS duration_ns,
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
    WHERE s.version IN {versions:Array(String)}
        AND s.service_name IN {service_names:Array(String)}
        AND (empty({days:Array(Date)}) OR toDate(s.start_time) IN {days:Array(Date)})
        AND toUnixTimestamp64Nano(s.start_time) >= w.from_ns
        AND toUnixTimestamp64Nano(s.start_time) < w.until_ns
        AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, arrayMin({ones_in:Array(UInt64)}))
        AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, w.one_in)
    GROUP BY number, s.trace_id
    HAVING max(is_entry)
) AS t
GROUP BY number
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
