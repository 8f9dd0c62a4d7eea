-- Count the traces of each version that started in each time bucket, and their instances.
--
-- Buckets are whole minutes; those at the ends of the range are counted in full. Hours that lie
-- fully within one bucket are read from the hourly table: from `first_hour` until before
-- `end_hour`, which may be none. A trace counts once with the number of traces it represents: as in
-- versions/weighed, the greatest that its spans report. If that number is the same for everything
-- read, the parts are simpler.

SELECT
    w.experiment AS experiment,
    w.service_name AS service_name,
    w.environment AS environment,
    w.version AS version,
    w.bucket_ns AS bucket_ns,
    toUInt64(round(sum((w.adjusted_count - w.next_count) * w.trace_count))) AS trace_count,
    max(w.trace_count) AS stored_count,
    uniqMerge(w.instances) AS instance_count,
    toUnixTimestamp64Nano(min(w.first_seen)) AS first_ns,
    toUnixTimestamp64Nano(max(w.last_seen)) AS last_ns
FROM
(
    SELECT
        c.*,
        /*?counted*/
        uniqMerge(c.traces) OVER (
            PARTITION BY c.experiment, c.service_name, c.environment, c.version, c.bucket_ns
            ORDER BY c.adjusted_count DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS trace_count,
        leadInFrame(c.adjusted_count, 1, 0::Float64) OVER (
            PARTITION BY c.experiment, c.service_name, c.environment, c.version, c.bucket_ns
            ORDER BY c.adjusted_count DESC
            ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS next_count
        /*counted?*/
    FROM
    (
        SELECT
            u.experiment AS experiment,
            u.service_name AS service_name,
            u.environment AS environment,
            u.version AS version,
            u.minute * 60000000000 - positiveModulo(u.minute * 60000000000, {width_ns:Int64}) AS bucket_ns,
            toFloat64(greatest(u.adjusted_count, 1)) AS adjusted_count,
            /*?traces*/ uniqMergeState(u.traces) /*traces?*/ AS traces,
            uniqMergeState(u.instances) AS instances,
            min(u.first_seen) AS first_seen,
            max(u.last_seen) AS last_seen
        FROM
        (
            SELECT
                h.experiment AS experiment,
                h.service_name AS service_name,
                h.environment AS environment,
                h.version AS version,
                h.hour * 60 AS minute,
                h.adjusted_count AS adjusted_count,
                h.traces AS traces,
                h.instances AS instances,
                h.first_seen AS first_seen,
                h.last_seen AS last_seen
            FROM activity_hours AS h
            WHERE ({experiment:String} = '' OR h.experiment = {experiment:String})
                AND ({service_name:String} = '' OR h.service_name = {service_name:String})
                AND ({environment:String} = '' OR h.environment = {environment:String})
                AND h.hour >= {first_hour:Int64}
                AND h.hour < {end_hour:Int64}
            UNION ALL
            SELECT
                m.experiment, m.service_name, m.environment, m.version, m.minute, m.adjusted_count,
                m.traces, m.instances, m.first_seen, m.last_seen
            FROM activity_minutes AS m
            WHERE ({experiment:String} = '' OR m.experiment = {experiment:String})
                AND ({service_name:String} = '' OR m.service_name = {service_name:String})
                AND ({environment:String} = '' OR m.environment = {environment:String})
                AND m.minute >= {first_minute:Int64}
                AND m.minute < {end_minute:Int64}
                AND (m.minute < {first_hour:Int64} * 60 OR m.minute >= {end_hour:Int64} * 60)
        ) AS u
        GROUP BY experiment, service_name, environment, version, bucket_ns, adjusted_count
    ) AS c
) AS w
GROUP BY experiment, service_name, environment, version, bucket_ns
ORDER BY experiment, service_name, environment, bucket_ns, version
LIMIT 100001
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
