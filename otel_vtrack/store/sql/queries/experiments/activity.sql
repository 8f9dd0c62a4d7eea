-- Return what telemetry reports of these experiments; no row for those it does not know.

SELECT
    a.experiment AS experiment,
    toUnixTimestamp64Nano(min(a.first)) AS first_seen_ns,
    toUnixTimestamp64Nano(max(a.last)) AS last_seen_ns,
    toUInt64(round(sum(a.traces))) AS trace_count,
    arraySort(groupUniqArrayArray(a.services)) AS service_names
FROM
(
    -- Traces count as many times as they represent: the greatest count, if services sample the same
    -- trace at different rates, as in versions/weighed.
    SELECT
        w.experiment AS experiment,
        w.first AS first,
        w.last AS last,
        uniqMerge(w.traces) OVER (
            PARTITION BY w.experiment ORDER BY w.adjusted_count DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        * (w.adjusted_count - leadInFrame(w.adjusted_count, 1, 0::Float64) OVER (
            PARTITION BY w.experiment ORDER BY w.adjusted_count DESC
            ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)) AS traces,
        w.services AS services
    FROM
    (
        SELECT
            toString(v.experiment) AS experiment,
            toFloat64(greatest(v.adjusted_count, 1)) AS adjusted_count,
            minOrNull(v.first_seen) AS first,
            maxOrNull(v.last_seen) AS last,
            uniqMergeState(v.traces) AS traces,
            groupUniqArrayIf(toString(v.service_name), v.service_name != '') AS services
        FROM versions AS v
        WHERE has({experiments:Array(String)}, v.experiment)
        GROUP BY v.experiment, adjusted_count
    ) AS w
    UNION ALL
    -- Times are of spans alone.
    SELECT toString(l.experiment), NULL, NULL, 0, groupUniqArrayIf(toString(l.service_name), l.service_name != '')
    FROM log_sources AS l
    WHERE has({experiments:Array(String)}, l.experiment)
    GROUP BY l.experiment
) AS a
GROUP BY a.experiment
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
