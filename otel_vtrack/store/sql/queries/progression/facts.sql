-- Return what is known of some versions of services in each environment.

SELECT
    v.experiment AS experiment,
    v.service_name AS service_name,
    v.environment AS environment,
    v.version AS version,
    arraySort(groupUniqArrayIf(toString(v.git_commit), v.git_commit != '')) AS git_commits,
    arraySort(groupUniqArrayIf(toString(v.git_dirty), v.git_dirty != '')) AS git_dirties,
    arraySort(groupUniqArrayIf(toString(v.deployment_id), v.deployment_id != '')) AS deployment_ids,
    arraySort(groupUniqArrayArray(v.flags)) AS flags
FROM
(
    SELECT
        experiment, service_name, environment, version, deployment_id, git_commit, git_dirty,
        CAST([], 'Array(Tuple(flag String, variant String))') AS flags
    FROM versions
    UNION ALL
    SELECT experiment, service_name, environment, version, '', '', '', flags
    FROM version_flags
) AS v
WHERE v.experiment IN {experiments:Array(String)}
    AND v.service_name IN {service_names:Array(String)}
    AND v.version IN {versions:Array(String)}
GROUP BY experiment, service_name, environment, version
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
