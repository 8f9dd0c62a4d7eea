-- Which versions ran where, the one seen last first, after a given one?

SELECT
    v.experiment AS experiment,
    v.service_name AS service_name,
    v.version AS version,
    v.environment AS environment,
    v.deployment_id AS deployment_id,
    max(v.git_commit) AS git_commit,
    max(v.git_branch) AS git_branch,
    max(v.git_dirty) AS git_dirty,
    max(v.repository_url) AS repository_url,
    toUnixTimestamp64Nano(min(v.first_seen)) AS first_seen_ns,
    toUnixTimestamp64Nano(max(v.last_seen)) AS last_seen_ns,
    uniqMerge(v.traces) AS trace_count,
    uniqMerge(v.sessions) AS session_count,
    uniqMerge(v.users) AS user_count
FROM versions AS v
WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
    AND ({service_name:String} = '' OR v.service_name = {service_name:String})
    AND ({environment:String} = '' OR v.environment = {environment:String})
GROUP BY v.experiment, v.service_name, v.version, v.environment, v.deployment_id
HAVING {first_page:UInt8}
    OR (last_seen_ns, experiment, service_name, version, environment, deployment_id)
        < ({after_ns:Int64}, {after_experiment:String}, {after_service_name:String}, {after_version:String}, {after_environment:String}, {after_deployment_id:String})
ORDER BY last_seen_ns DESC, experiment DESC, service_name DESC, version DESC, environment DESC, deployment_id DESC
LIMIT {wanted:UInt64};
