-- Count the instances of a version in each of some time ranges, in total and at most in a minute,
-- by the range's number from 1 and in whole minutes. A range without any has no row.
--
-- `hours` limits the hours to read; empty for all of those in the ranges.

SELECT
    m.number AS number,
    uniqMerge(m.instances) AS instance_count,
    max(finalizeAggregation(m.instances)) AS peak_instance_count
FROM
(
    SELECT
        w.number AS number,
        uniqMergeState(a.instances) AS instances
    FROM activity_minutes AS a
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
        ON w.experiment = a.experiment AND w.service_name = a.service_name AND w.environment = a.environment AND w.version = a.version
    WHERE a.experiment IN {experiments:Array(String)}
        AND a.service_name IN {service_names:Array(String)}
        AND a.environment IN {environments:Array(String)}
        AND a.minute >= intDiv(arrayMin({froms_ns:Array(Int64)}), 60000000000)
        AND a.minute <= intDiv(arrayMax({untils_ns:Array(Int64)}), 60000000000)
        AND (empty({hours:Array(Int64)}) OR intDiv(a.minute, 60) IN {hours:Array(Int64)})
        AND a.minute >= intDiv(w.from_ns, 60000000000)
        AND a.minute <= intDiv(w.until_ns - 1, 60000000000)
    GROUP BY number, a.minute
) AS m
GROUP BY number
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
