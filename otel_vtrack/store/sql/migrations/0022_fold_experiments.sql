-- Experiments as they are now: those that people created and those that telemetry tells of, with
-- what people did to them.
--
-- `name` is unique: an experiment that telemetry calls so has it before any that was renamed to
-- it, and of those the one that was renamed first. Whoever does not get the name is called what
-- telemetry calls it.

CREATE OR REPLACE VIEW experiments /*@ON CLUSTER '{cluster}'*/ AS
SELECT
    n.experiment AS experiment,
    if(n.claimed = '' OR n.is_taken OR n.claimed_by != n.experiment, n.experiment, n.claimed) AS name,
    n.tags AS tags,
    n.archived AS archived,
    n.created AS created,  -- by hand, else NULL
    n.changed AS changed,  -- by hand, else NULL
    n.seen AS seen  -- in telemetry first, else NULL
FROM
(
    SELECT
        e.experiment AS experiment,
        e.claimed AS claimed,
        first_value(e.experiment) OVER (PARTITION BY e.claimed ORDER BY e.claimed_at, e.experiment) AS claimed_by,
        e.claimed IN (
            SELECT toString(s.experiment) FROM versions AS s
            UNION ALL
            SELECT toString(s.experiment) FROM log_sources AS s
            UNION ALL
            SELECT s.experiment FROM experiment_changes AS s WHERE s.created) AS is_taken,
        e.tags AS tags,
        e.archived AS archived,
        e.created AS created,
        e.changed AS changed,
        e.seen AS seen
    FROM
    (
        SELECT
            p.experiment AS experiment,
            max(p.claimed) AS claimed,
            max(p.claimed_at) AS claimed_at,
            arrayElement(groupArrayIf(p.tags, notEmpty(p.tags)), 1) AS tags,
            max(p.archived) AS archived,
            min(p.created) AS created,
            max(p.changed) AS changed,
            min(p.seen) AS seen
        FROM
        (
            SELECT
                c.experiment AS experiment,
                if(claim = c.experiment, '', claim) AS claimed,
                ifNull(argMax(c.name, (c.change_time, c.change_id)), '') AS claim,
                maxIf(c.change_time, c.name IS NOT NULL) AS claimed_at,
                CAST(map(), 'Map(String, String)') AS tags,
                ifNull(argMax(c.archived, (c.change_time, c.change_id)), false) AS archived,
                minOrNullIf(c.change_time, c.created) AS created,
                maxOrNull(c.change_time) AS changed,
                CAST(NULL, 'Nullable(DateTime64(9, \'UTC\'))') AS seen
            FROM experiment_changes AS c
            GROUP BY c.experiment
            UNION ALL
            SELECT
                t.experiment, '', '', toDateTime64(0, 9, 'UTC'),
                mapFromArrays(groupArray(t.key), groupArray(t.kept.2)),
                false, NULL, NULL, NULL
            FROM
            (
                SELECT c.experiment AS experiment, tag.1 AS key, argMax((tag.2, tag.3), (c.change_time, c.change_id)) AS kept
                FROM experiment_changes AS c
                ARRAY JOIN arrayConcat(
                    arrayMap((k, v) -> (k, true, v), mapKeys(c.set_tags), mapValues(c.set_tags)),
                    arrayMap(k -> (k, false, ''), c.deleted_tags)) AS tag
                GROUP BY c.experiment, key
                HAVING kept.1
            ) AS t
            GROUP BY t.experiment
            UNION ALL
            SELECT toString(v.experiment), '', '', toDateTime64(0, 9, 'UTC'), CAST(map(), 'Map(String, String)'), false, NULL, NULL, min(v.first_seen)
            FROM versions AS v
            GROUP BY v.experiment
            UNION ALL
            SELECT toString(l.experiment), '', '', toDateTime64(0, 9, 'UTC'), CAST(map(), 'Map(String, String)'), false, NULL, NULL, min(l.first_seen)
            FROM log_sources AS l
            GROUP BY l.experiment
        ) AS p
        GROUP BY p.experiment
        -- A change that came after its experiment was deleted makes none.
        HAVING created IS NOT NULL OR seen IS NOT NULL
    ) AS e
) AS n;
