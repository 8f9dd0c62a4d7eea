-- Deployments as before, but a trace of which spans say differently how many it stands for counts
-- once: with the greatest of them, and not with each.

CREATE OR REPLACE VIEW deployments /*@ON CLUSTER '{cluster}'*/ AS
SELECT
    p.experiment AS experiment,
    p.service_name AS service_name,
    p.environment AS environment,
    p.deployment_id AS deployment_id,
    ifNull(max(p.declared_version), max(p.seen_version)) AS version,
    ifNull(max(p.status), 'UNSPECIFIED') AS status,
    ifNull(max(p.start_time), min(p.first_seen)) AS start_time,
    max(p.end_time) AS end_time,  -- NULL: not declared
    max(p.description) AS description,
    arrayElement(groupArrayIf(p.tags, notEmpty(p.tags)), 1) AS tags,
    max(p.is_declared) AS declared,
    min(p.first_seen) AS first_seen,  -- NULL: no span tells of it
    max(p.last_seen) AS last_seen,
    sum(p.trace_count) AS trace_count
FROM
(
    SELECT
        d.experiment AS experiment,
        d.service_name AS service_name,
        d.environment AS environment,
        d.deployment_id AS deployment_id,
        d.version AS declared_version,
        '' AS seen_version,
        d.status AS status,
        d.start_time AS start_time,
        d.end_time AS end_time,
        d.description AS description,
        CAST(map(), 'Map(String, String)') AS tags,
        true AS is_declared,
        d.is_created AS is_created,
        CAST(NULL, 'Nullable(DateTime64(9, \'UTC\'))') AS first_seen,
        CAST(NULL, 'Nullable(DateTime64(9, \'UTC\'))') AS last_seen,
        toUInt64(0) AS trace_count
    FROM declared_deployments AS d
    UNION ALL
    SELECT
        t.experiment, t.service_name, t.environment, t.deployment_id,
        NULL, '', NULL, NULL, NULL, '',
        mapFromArrays(groupArray(t.key), groupArray(t.kept.2)),
        false, false, NULL, NULL, 0
    FROM
    (
        SELECT
            d.experiment AS experiment,
            d.service_name AS service_name,
            d.environment AS environment,
            d.deployment_id AS deployment_id,
            tag.1 AS key,
            argMax((tag.2, tag.3), d.place) AS kept
        FROM
        (
            SELECT
                c.*,
                (c.change_time, c.change_id) AS place,
                maxIf((c.change_time, c.change_id), c.withdrawn) OVER (PARTITION BY c.experiment, c.service_name, c.environment, c.deployment_id) AS withdrawn_at
            FROM deployment_changes AS c
        ) AS d
        ARRAY JOIN arrayConcat(
            arrayMap((k, v) -> (k, true, v), mapKeys(d.set_tags), mapValues(d.set_tags)),
            arrayMap(k -> (k, false, ''), d.deleted_tags)) AS tag
        WHERE d.place > d.withdrawn_at
        GROUP BY d.experiment, d.service_name, d.environment, d.deployment_id, key
        HAVING kept.1
    ) AS t
    GROUP BY t.experiment, t.service_name, t.environment, t.deployment_id
    UNION ALL
    -- Traces count as many as they stand for, the greatest count, as in versions/weighed.
    SELECT
        s.experiment, s.service_name, s.environment, s.deployment_id,
        NULL, max(s.held).2, NULL, NULL, NULL, '',
        CAST(map(), 'Map(String, String)'),
        false, false, min(s.first_seen), max(s.last_seen), toUInt64(round(sum((s.adjusted_count - s.next_count) * s.trace_count)))
    FROM
    (
        SELECT
            w.*,
            uniqMerge(w.traces) OVER (
                PARTITION BY w.experiment, w.service_name, w.environment, w.deployment_id
                ORDER BY w.adjusted_count DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS trace_count,
            leadInFrame(w.adjusted_count, 1, 0::Float64) OVER (
                PARTITION BY w.experiment, w.service_name, w.environment, w.deployment_id
                ORDER BY w.adjusted_count DESC
                ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS next_count
        FROM
        (
            SELECT
                toString(v.experiment) AS experiment,
                toString(v.service_name) AS service_name,
                toString(v.environment) AS environment,
                toString(v.deployment_id) AS deployment_id,
                toFloat64(greatest(v.adjusted_count, 1)) AS adjusted_count,
                max((v.last_seen, toString(v.version))) AS held,
                min(v.first_seen) AS first_seen,
                max(v.last_seen) AS last_seen,
                uniqMergeState(v.traces) AS traces
            FROM versions AS v
            WHERE v.deployment_id != ''
            GROUP BY v.experiment, v.service_name, v.environment, v.deployment_id, adjusted_count
        ) AS w
    ) AS s
    GROUP BY s.experiment, s.service_name, s.environment, s.deployment_id
) AS p
GROUP BY p.experiment, p.service_name, p.environment, p.deployment_id
-- A change that came after it was withdrawn declares nothing.
HAVING max(p.is_created) OR first_seen IS NOT NULL;
