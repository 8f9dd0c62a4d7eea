-- Count the instances of a version in each of some time ranges, and list the hours with the most,
-- by the range's number from 1. A range without any has no row.
--
-- `is_cut`: some hour has activity both inside and outside of the range, so hours are not exact.
-- `hours` come with their numbers of instances; no other hour has more than the last of them.

SELECT
    c.number AS number,
    uniqMerge(c.instances) AS instance_count,
    max(c.is_cut) AS is_cut,
    arraySlice(arrayReverseSort(groupArray((finalizeAggregation(c.instances), c.hour))), 1, 4) AS hours
FROM
(
    SELECT
        w.number AS number,
        h.hour AS hour,
        uniqMergeState(h.instances) AS instances,
        intDiv(toUnixTimestamp64Nano(min(h.first_seen)), 60000000000) < any(w.first_minute)
            OR intDiv(toUnixTimestamp64Nano(max(h.last_seen)), 60000000000) > any(w.last_minute) AS is_cut
    FROM activity_hours AS h
    INNER JOIN
    (
        SELECT
            each.1 AS number, each.2 AS experiment, each.3 AS service_name, each.4 AS environment,
            each.5 AS version, intDiv(each.6, 60000000000) AS first_minute, intDiv(each.7 - 1, 60000000000) AS last_minute
        FROM
        (
            SELECT arrayJoin(arrayZip(
                arrayEnumerate({versions:Array(String)}), {experiments:Array(String)}, {service_names:Array(String)},
                {environments:Array(String)}, {versions:Array(String)}, {froms_ns:Array(Int64)}, {untils_ns:Array(Int64)})) AS each
        )
    ) AS w
        ON w.experiment = h.experiment AND w.service_name = h.service_name AND w.environment = h.environment AND w.version = h.version
    WHERE h.experiment IN {experiments:Array(String)}
        AND h.service_name IN {service_names:Array(String)}
        AND h.environment IN {environments:Array(String)}
        AND h.hour * 60 + 59 >= w.first_minute
        AND h.hour * 60 <= w.last_minute
    GROUP BY number, hour
) AS c
GROUP BY number
ORDER BY number
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
