-- List the deployments after a given one, the latest started first.

SELECT
    d.experiment AS experiment,
    d.service_name AS service_name,
    d.environment AS environment,
    d.deployment_id AS deployment_id,
    d.version AS version,
    d.status AS status,
    toUnixTimestamp64Nano(d.start_time) AS start_time_ns,
    toUnixTimestamp64Nano(d.end_time) AS end_time_ns,
    d.description AS description,
    d.tags AS tags,
    d.declared AS declared,
    toUnixTimestamp64Nano(d.first_seen) AS first_seen_ns,
    toUnixTimestamp64Nano(d.last_seen) AS last_seen_ns,
    d.trace_count AS trace_count
FROM deployments AS d
WHERE ({experiment:String} = '' OR d.experiment = {experiment:String})
    AND ({service_name:String} = '' OR d.service_name = {service_name:String})
    AND ({environment:String} = '' OR d.environment = {environment:String})
    AND ({deployment_id:String} = '' OR d.deployment_id = {deployment_id:String})
    AND ({version:String} = '' OR d.version = {version:String})
    AND ({first_page:UInt8}
        OR (start_time_ns, d.experiment, d.service_name, d.environment, d.deployment_id)
            < ({after_ns:Int64}, {after_experiment:String}, {after_service_name:String}, {after_environment:String}, {after_deployment_id:String}))
ORDER BY start_time_ns DESC, experiment DESC, service_name DESC, environment DESC, deployment_id DESC
LIMIT {wanted:UInt64}
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
