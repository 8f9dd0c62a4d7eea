-- List the span names of two versions that resemble an unknown name, the most similar first.

SELECT s.name AS name
FROM spans AS s
WHERE s.version IN ({baseline_version:String}, {candidate_version:String})
    AND s.experiment = {experiment:String}
    AND ({service_name:String} = '' OR s.service_name = {service_name:String})
    AND ({environment:String} = '' OR s.environment = {environment:String})
    AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND s.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC'))
    AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
GROUP BY name
ORDER BY editDistance(lower(toString(name)), lower({name:String})), name
LIMIT 5
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
