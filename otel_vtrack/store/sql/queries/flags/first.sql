-- Return when and where the first trace of a version started, one row per place.

SELECT
    toString(t.experiment) AS experiment,
    toString(t.root.service_name) AS service_name,
    toString(t.root.environment) AS environment,
    toUnixTimestamp64Nano(min(t.start_time)) AS first_ns
FROM trace_roots AS t
WHERE t.root.rank < 2
    AND t.root.version = {version:String}
    AND ({experiment:String} = '' OR t.experiment = {experiment:String})
    AND ({service_name:String} = '' OR t.root.service_name = {service_name:String})
    AND ({environment:String} = '' OR t.root.environment = {environment:String})
    AND t.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND t.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
GROUP BY experiment, service_name, environment
ORDER BY experiment, service_name, environment
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
