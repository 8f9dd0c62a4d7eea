-- List the changes of experiments after a given one.

SELECT
    c.experiment AS experiment,
    toUnixTimestamp64Nano(c.change_time) AS change_time,
    toString(c.change_id) AS change_id,
    c.created AS created,
    c.name AS name,
    c.archived AS archived,
    c.set_tags AS set_tags,
    c.deleted_tags AS deleted_tags
FROM experiment_changes AS c FINAL
WHERE c.experiment >= {after_experiment:String}
    AND (c.experiment, c.change_time, c.change_id) > ({after_experiment:String}, fromUnixTimestamp64Nano({after_time:Int64}, 'UTC'), toUUIDOrZero({after_change_id:String}))
    AND ({experiment:String} = '' OR c.experiment = {experiment:String})
ORDER BY c.experiment, c.change_time, c.change_id
LIMIT {max_rows:UInt32};
