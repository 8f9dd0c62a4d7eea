-- List the changes of versions after a given one.

SELECT
    c.experiment AS experiment,
    c.service_name AS service_name,
    c.version AS version,
    toUnixTimestamp64Nano(c.change_time) AS change_time,
    toString(c.change_id) AS change_id,
    c.note AS note
FROM version_changes AS c FINAL
WHERE c.experiment >= {after_experiment:String}
    AND (c.experiment, c.service_name, c.version, c.change_time, c.change_id) > ({after_experiment:String}, {after_service_name:String}, {after_version:String}, fromUnixTimestamp64Nano({after_time:Int64}, 'UTC'), toUUIDOrZero({after_change_id:String}))
    AND ({experiment:String} = '' OR c.experiment = {experiment:String})
ORDER BY c.experiment, c.service_name, c.version, c.change_time, c.change_id
LIMIT {max_rows:UInt32};
