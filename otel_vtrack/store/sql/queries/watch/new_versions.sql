-- Which versions were seen for the first time since then? The newest first.

SELECT
    v.experiment AS experiment,
    v.service_name AS service_name,
    v.environment AS environment,
    v.version AS version,
    argMax(v.deployment_id, (v.last_seen, v.deployment_id)) AS deployment_id
FROM versions AS v
WHERE v.version != ''
GROUP BY v.experiment, v.service_name, v.environment, v.version
HAVING min(v.first_seen) >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
ORDER BY min(v.first_seen) DESC, experiment, service_name, environment, version
LIMIT {most:UInt64}
SETTINGS max_execution_time = 20, max_threads = 1;
