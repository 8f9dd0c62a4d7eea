-- How many traces of each version began in each bucket of time, and how many instances had them?
--
-- Buckets are whole minutes; those at the ends of the range are counted whole.

SELECT
    a.experiment AS experiment,
    a.service_name AS service_name,
    a.environment AS environment,
    a.version AS version,
    a.minute * 60000000000 - positiveModulo(a.minute * 60000000000, {width_ns:Int64}) AS bucket_ns,
    uniqMerge(a.traces) AS trace_count,
    uniqMerge(a.instances) AS instance_count,
    toUnixTimestamp64Nano(min(a.first_seen)) AS first_ns,
    toUnixTimestamp64Nano(max(a.last_seen)) AS last_ns
FROM activity AS a
WHERE ({experiment:String} = '' OR a.experiment = {experiment:String})
    AND ({service_name:String} = '' OR a.service_name = {service_name:String})
    AND ({environment:String} = '' OR a.environment = {environment:String})
    AND a.minute >= intDiv({from_ns:Int64}, 60000000000)
    AND a.minute <= intDiv({until_ns:Int64}, 60000000000)
GROUP BY experiment, service_name, environment, version, bucket_ns
ORDER BY experiment, service_name, environment, bucket_ns, version
LIMIT 100001
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
