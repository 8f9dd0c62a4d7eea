-- Count the traces of each version and deployment that started in each time bucket in these places.
-- Deployments are counted separately only for versions in `told_versions`, in their places.

SELECT
    t.experiment AS experiment,
    t.root.service_name AS service_name,
    t.root.environment AS environment,
    t.root.version AS version,
    if(has(arrayZip({told_experiments:Array(String)}, {told_service_names:Array(String)}, {told_environments:Array(String)}, {told_versions:Array(String)}), (toString(t.experiment), toString(t.root.service_name), toString(t.root.environment), toString(t.root.version))), toString(t.root.deployment_id), '') AS deployment_id,
    toUnixTimestamp64Nano(t.start_time) - positiveModulo(toUnixTimestamp64Nano(t.start_time), {width_ns:Int64}) AS bucket_ns,
    uniq(t.trace_id) AS trace_count,
    toUnixTimestamp64Nano(min(t.start_time)) AS first_ns,
    toUnixTimestamp64Nano(max(t.start_time)) AS last_ns
FROM trace_roots AS t
WHERE t.root.rank < 2
    AND t.root.version != ''
    AND t.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND has(arrayZip({experiments:Array(String)}, {service_names:Array(String)}, {environments:Array(String)}), (toString(t.experiment), toString(t.root.service_name), toString(t.root.environment)))
GROUP BY experiment, service_name, environment, version, deployment_id, bucket_ns
ORDER BY experiment, service_name, environment, bucket_ns, version, deployment_id
LIMIT 200001
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, max_threads = 1;
