-- Summarize the traces that versions started in some time ranges. One row for each range that has
-- any, by its number from 1.
--
-- Uses entry spans, chosen as in activity_minutes_from_spans; if a trace has several in a service,
-- the first one. Spans of other days are not read. Durations are logarithms of milliseconds. A
-- cluster is a session, else a trace. With the traces n, failures f and logarithms l of each, the
-- sums of nn, nf, ff, nl and ll over clusters determine the uncertainty. A trace counts as many
-- times as it represents, in each of these.

SELECT
    c.number AS number,
    sum(c.stored) AS stored_count,
    sum(c.n) AS trace_count,
    sum(c.f) AS error_count,
    count() AS cluster_count,
    countIf(c.session != '') AS session_count,
    length(groupUniqArrayArray(c.people)) AS user_count,
    sum(c.l) AS log_sum,
    sum(c.n * c.n) AS nn,
    sum(c.n * c.f) AS nf,
    sum(c.f * c.f) AS ff,
    sum(c.n * c.l) AS nl,
    sum(c.l * c.l) AS ll
FROM
(
    SELECT
        t.number AS number,
        t.session AS session,
        count() AS stored,
        sum(t.adjusted_count) AS n,
        sumIf(t.adjusted_count, t.entry.2 = 2) AS f,
        sum(t.adjusted_count * log(greatest(t.entry.1, 1) / 1e6)) AS l,
        groupUniqArrayIf(t.person, t.person != '') AS people
    FROM
    (
        WITH
            (s.parent_span_id = toFixedString('', 8) OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5))) AS is_entry
        SELECT
            w.number AS number,
            s.trace_id AS trace_id,
            argMinIf((s.duration_ns, s.status_code), (s.start_time, s.span_id), is_entry) AS entry,
            max(s.session_id) AS session,
            max(s.user_id) AS person,
            toFloat64(max(s.adjusted_count)) AS adjusted_count
        FROM spans AS s
        INNER JOIN
        (
            SELECT
                each.1 AS number, each.2 AS experiment, each.3 AS service_name, each.4 AS environment,
                each.5 AS version, each.6 AS from_ns, each.7 AS until_ns
            FROM
            (
                SELECT arrayJoin(arrayZip(
                    arrayEnumerate({versions:Array(String)}), {experiments:Array(String)}, {service_names:Array(String)},
                    {environments:Array(String)}, {versions:Array(String)}, {froms_ns:Array(Int64)}, {untils_ns:Array(Int64)})) AS each
            )
        ) AS w
            ON w.experiment = s.experiment AND w.service_name = s.service_name AND w.environment = s.environment AND w.version = s.version
        WHERE s.version IN {versions:Array(String)}
            AND s.service_name IN {service_names:Array(String)}
            AND (empty({days:Array(Date)}) OR toDate(s.start_time) IN {days:Array(Date)})
            AND toUnixTimestamp64Nano(s.start_time) >= w.from_ns
            AND toUnixTimestamp64Nano(s.start_time) < w.until_ns
        GROUP BY number, trace_id
        HAVING max(is_entry)
    ) AS t
    GROUP BY number, session, if(session = '', t.trace_id, toFixedString('', 16))
) AS c
GROUP BY number
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
