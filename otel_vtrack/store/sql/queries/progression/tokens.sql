-- How many tokens did traces take whose root versions began in some times? A row for each time in
-- which any reports usage, by its number from 1.
--
-- Of one in so many traces of each time, chosen by their ids. Rows of a trace are put together
-- before they are chosen; those of other days are not read.

SELECT
    w.number AS number,
    count() AS trace_count,
    avg(t.total_tokens) AS mean,
    ifNotFinite(stddevSampStable(t.total_tokens), 0) AS deviation
FROM
(
    SELECT
        p.experiment AS experiment,
        p.trace_id AS trace_id,
        p.root AS r,
        r.service_name AS service_name,
        r.environment AS environment,
        r.version AS version,
        toUnixTimestamp64Nano(r.start_time) AS start_ns,
        assumeNotNull(p.total_tokens) AS total_tokens
    FROM whole_traces AS p
    WHERE p.trace_id IN
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
        -- Once more, so that all others are not read.
        AND cityHash64(p.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, arrayMin({ones_in:Array(UInt64)}))
        AND p.total_tokens IS NOT NULL
        AND r.rank < 2
) AS t
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
    ON w.experiment = t.experiment AND w.service_name = t.service_name AND w.environment = t.environment AND w.version = t.version
WHERE t.start_ns >= w.from_ns
    AND t.start_ns < w.until_ns
    AND cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, w.one_in)
GROUP BY number
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
