-- Return the flags, aliases and notes of versions, one row per version that has any.

SELECT
    t.experiment AS experiment,
    t.service_name AS service_name,
    t.version AS version,
    arraySort(groupArrayArray(t.flags)) AS flags,
    arraySort(groupArrayArray(t.aliases)) AS aliases,
    max(t.note) AS note
FROM
(
    SELECT
        toString(v.experiment) AS experiment,
        toString(v.service_name) AS service_name,
        toString(v.version) AS version,
        groupUniqArrayArray(100)(v.flags) AS flags,
        []::Array(String) AS aliases,
        '' AS note
    FROM version_flags AS v
    WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
        AND ({service_name:String} = '' OR v.service_name = {service_name:String})
        AND ({any_version:UInt8} OR v.version = {version:String})
        AND /*?places*/ 1 /*places?*/
    GROUP BY v.experiment, v.service_name, v.version
    UNION ALL
    SELECT l.experiment, l.service_name, l.held.1, [], [toString(l.alias)], ''
    FROM
    (
        SELECT
            h.experiment AS experiment,
            h.service_name AS service_name,
            h.alias AS alias,
            argMax((h.version, h.deleted), (h.change_time, h.change_id)) AS held
        FROM version_aliases AS h
        WHERE ({experiment:String} = '' OR h.experiment = {experiment:String})
            AND ({service_name:String} = '' OR h.service_name = {service_name:String})
        GROUP BY h.experiment, h.service_name, h.alias
    ) AS l
    WHERE NOT l.held.2
        AND ({any_version:UInt8} OR l.held.1 = {version:String})
    UNION ALL
    SELECT h.experiment, h.service_name, h.version, [], [], ifNull(argMax(h.note, (h.change_time, h.change_id)), '')
    FROM version_changes AS h
    WHERE ({experiment:String} = '' OR h.experiment = {experiment:String})
        AND ({service_name:String} = '' OR h.service_name = {service_name:String})
        AND ({any_version:UInt8} OR h.version = {version:String})
    GROUP BY h.experiment, h.service_name, h.version
) AS t
GROUP BY t.experiment, t.service_name, t.version
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, max_threads = 1;
