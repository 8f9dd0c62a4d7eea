-- List the experiments by name after a given one, or return a single one.

SELECT
    e.experiment AS experiment,
    e.name AS name,
    e.tags AS tags,
    e.archived AS archived,
    toUnixTimestamp64Nano(ifNull(e.created, e.seen)) AS create_time_ns,
    toUnixTimestamp64Nano(e.changed) AS last_update_time_ns
FROM experiments AS e
WHERE ({experiment:String} = '' OR e.experiment = {experiment:String})
    AND ({name_contains:String} = '' OR positionCaseInsensitiveUTF8(e.name, {name_contains:String}) > 0)
    AND ({archived:UInt8} OR NOT e.archived)
    AND (e.name, e.experiment) > ({after_name:String}, {after_experiment:String})
ORDER BY name, experiment
LIMIT {wanted:UInt64}
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
