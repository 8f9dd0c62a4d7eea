-- List the changes of deployments after a given one.

SELECT
    c.experiment AS experiment,
    c.service_name AS service_name,
    c.environment AS environment,
    c.deployment_id AS deployment_id,
    toUnixTimestamp64Nano(c.change_time) AS change_time,
    toString(c.change_id) AS change_id,
    c.created AS created,
    c.withdrawn AS withdrawn,
    c.version AS version,
    CAST(c.status, 'Nullable(String)') AS status,
    toUnixTimestamp64Nano(c.start_time) AS start_time,
    toUnixTimestamp64Nano(c.end_time) AS end_time,
    c.description AS description,
    c.set_tags AS set_tags,
    c.deleted_tags AS deleted_tags
FROM deployment_changes AS c FINAL
WHERE c.experiment >= {after_experiment:String}
    AND (c.experiment, c.service_name, c.environment, c.deployment_id, c.change_time, c.change_id) > ({after_experiment:String}, {after_service_name:String}, {after_environment:String}, {after_deployment_id:String}, fromUnixTimestamp64Nano({after_time:Int64}, 'UTC'), toUUIDOrZero({after_change_id:String}))
    AND ({experiment:String} = '' OR c.experiment = {experiment:String})
ORDER BY c.experiment, c.service_name, c.environment, c.deployment_id, c.change_time, c.change_id
LIMIT {max_rows:UInt32};
