-- List the versions that spans have reported since a time, where something may have been put live:
-- in places with several versions or deployments, and in the given ones. The places with the newest
-- version come first.

SELECT
    f.experiment AS experiment,
    f.service_name AS service_name,
    f.environment AS environment,
    f.version AS version,
    f.first_ns AS first_ns,
    f.deployment_id AS deployment_id,
    f.deployment_count AS deployment_count
FROM
(
    SELECT
        v.experiment AS experiment,
        v.service_name AS service_name,
        v.environment AS environment,
        v.version AS version,
        toUnixTimestamp64Nano(min(v.first_seen)) AS first_ns,
        argMax(v.deployment_id, (v.last_seen, v.deployment_id)) AS deployment_id,
        uniqExactIf(v.deployment_id, v.deployment_id != '' AND v.last_seen >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')) AS deployment_count,
        sum(greatest(deployment_count, 1)) OVER (PARTITION BY experiment, service_name, environment) AS place_count,
        max(first_ns) OVER (PARTITION BY experiment, service_name, environment) AS place_ns
    FROM versions AS v
    WHERE v.version != ''
    GROUP BY v.experiment, v.service_name, v.environment, v.version
    HAVING max(v.last_seen) >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
) AS f
WHERE f.place_count > 1
    OR has(arrayZip({experiments:Array(String)}, {service_names:Array(String)}, {environments:Array(String)}), (toString(f.experiment), toString(f.service_name), toString(f.environment)))
ORDER BY f.place_ns DESC, experiment, service_name, environment, version
LIMIT {most:UInt64}
SETTINGS max_execution_time = 20, max_threads = 1;
