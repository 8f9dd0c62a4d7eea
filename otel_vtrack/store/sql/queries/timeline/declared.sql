-- List when versions were declared to be put live, without failed or withdrawn deployments.
--
-- Values missing from a declaration come from spans, as in `deployments`.

SELECT
    d.experiment AS experiment,
    d.service_name AS service_name,
    d.environment AS environment,
    ifNull(d.version, v.version) AS version,
    toUnixTimestamp64Nano(ifNull(d.start_time, v.first_seen)) AS start_time_ns
FROM declared_deployments AS d
LEFT JOIN
(
    SELECT
        toString(s.experiment) AS experiment,
        toString(s.service_name) AS service_name,
        toString(s.environment) AS environment,
        toString(s.deployment_id) AS deployment_id,
        max((s.last_seen, toString(s.version))).2 AS version,
        minOrNull(s.first_seen) AS first_seen
    FROM versions AS s
    WHERE (s.experiment, s.service_name, s.environment, s.deployment_id) IN
    (
        SELECT o.experiment, o.service_name, o.environment, o.deployment_id
        FROM deployment_changes AS o
    )
    GROUP BY s.experiment, s.service_name, s.environment, s.deployment_id
) AS v ON v.experiment = d.experiment AND v.service_name = d.service_name AND v.environment = d.environment AND v.deployment_id = d.deployment_id
WHERE ({experiment:String} = '' OR d.experiment = {experiment:String})
    AND ({service_name:String} = '' OR d.service_name = {service_name:String})
    AND ({environment:String} = '' OR d.environment = {environment:String})
    AND ifNull(d.status, '') != 'FAILED'
    AND (d.is_created OR v.first_seen IS NOT NULL)
    AND version != ''
    AND start_time_ns <= {until_ns:Int64}
ORDER BY experiment, service_name, environment, start_time_ns, version
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
