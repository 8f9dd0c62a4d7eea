-- List the deployments declared to start in a time range that did not fail, latest first.

SELECT
    d.experiment AS experiment,
    d.service_name AS service_name,
    d.environment AS environment,
    d.deployment_id AS deployment_id,
    d.version AS version,
    toUnixTimestamp64Nano(d.start_time) AS start_ns
FROM deployments AS d
WHERE d.declared
    AND d.version != ''
    AND d.status != 'FAILED'
    AND start_ns >= {from_ns:Int64}
    AND start_ns <= {until_ns:Int64}
ORDER BY start_ns DESC, experiment, service_name, environment, deployment_id
LIMIT {most:UInt64}
SETTINGS max_execution_time = 20, max_threads = 1;
