-- List the versions that an alias refers to, one row per service that has it.

SELECT
    l.experiment AS experiment,
    l.service_name AS service_name,
    l.held.1 AS version
FROM
(
    SELECT
        h.experiment AS experiment,
        h.service_name AS service_name,
        argMax((h.version, h.deleted), (h.change_time, h.change_id)) AS held
    FROM version_aliases AS h
    WHERE h.alias = {alias:String}
        AND ({experiment:String} = '' OR h.experiment = {experiment:String})
        AND ({service_name:String} = '' OR h.service_name = {service_name:String})
    GROUP BY h.experiment, h.service_name
) AS l
WHERE NOT l.held.2
ORDER BY l.experiment, l.service_name
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
