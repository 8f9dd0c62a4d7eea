-- List the services and environments with spans of two versions, one row per pair.

SELECT DISTINCT
    service_name AS service,
    environment,
    if(service_name = '', 0, cityHash64(service_name)) AS service_hash,
    if(environment = '', 0, cityHash64(environment)) AS environment_hash
FROM versions
WHERE version IN ({baseline_version:String}, {candidate_version:String})
    AND experiment = {experiment:String}
ORDER BY service_name, environment
LIMIT 1000
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
