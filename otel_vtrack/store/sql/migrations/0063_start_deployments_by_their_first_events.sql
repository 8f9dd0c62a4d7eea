-- Deployments that were declared, as their changes say: by people, or by events.
--
-- A change by an event is a declaration whose start is its own time: people's are made after the
-- start that they declare. Of several events of one deployment the first says when it began, and
-- the last how it went: one that says it failed ends it. An id may be used again, as a name is: one
-- that is under way after it succeeded or failed, or of another version, begins anew. Events are
-- in the order of their own times, whenever they arrived. What people said since it began wins.

CREATE OR REPLACE VIEW declared_deployments /*@ON CLUSTER '{cluster}'*/ AS
WITH
    -- (place, is an event, status or -1, version or '', start, end) of each change.
    arraySort(x -> x.1, groupArray((d.place, d.is_event, ifNull(toInt8(d.status), -1), ifNull(d.version, ''), d.start_time, d.end_time))) AS changes,
    arrayFill(s -> s != -1, changes.3) AS statuses,
    arrayFill(v -> v != '', changes.4) AS versions,
    arraySlice(changes, greatest(arrayMax(arrayMap(
        (n, c, before, version, version_before) -> if(
            (c.2 AND c.3 NOT IN (2, 3) AND before IN (2, 3)) OR (version != version_before AND version_before != ''), n, 1),
        arrayEnumerate(changes),
        changes,
        arrayPushFront(arrayPopBack(statuses), -1),
        versions,
        arrayPushFront(arrayPopBack(versions), ''))), 1)) AS since,
    arraySlice(since, arrayLastIndex(c -> c.3 NOT IN (-1, 3), since) + 1) AS failing
SELECT
    d.experiment AS experiment,
    d.service_name AS service_name,
    d.environment AS environment,
    d.deployment_id AS deployment_id,
    argMax(d.version, d.place) AS version,
    toString(argMax(d.status, d.place)) AS status,
    ifNull(
        arrayLast(c -> NOT c.2 AND isNotNull(c.5), since).5,
        arrayFirst(c -> c.2, since).5) AS start_time,
    ifNull(
        arrayLast(c -> isNotNull(c.6), since).6,
        arrayFirst(c -> c.2 AND c.3 = 3, failing).5) AS end_time,
    ifNull(argMax(d.description, d.place), '') AS description,
    max(d.created) AS is_created
FROM
(
    SELECT
        c.*,
        (c.change_time, c.change_id) AS place,
        c.created AND ifNull(c.start_time = c.change_time, false) AS is_event,
        maxIf((c.change_time, c.change_id), c.withdrawn) OVER (PARTITION BY c.experiment, c.service_name, c.environment, c.deployment_id) AS withdrawn_at
    FROM deployment_changes AS c
) AS d
WHERE d.place > d.withdrawn_at
GROUP BY d.experiment, d.service_name, d.environment, d.deployment_id;

-- Deployments as they are now: those that people declared and those that spans tell of. What was
-- declared wins.

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
    -- Traces count as many as they stand for.
    SELECT
        s.experiment, s.service_name, s.environment, s.deployment_id,
        NULL, max(s.held).2, NULL, NULL, NULL, '',
        CAST(map(), 'Map(String, String)'),
        false, false, min(s.first_seen), max(s.last_seen), toUInt64(round(sum(s.trace_count * s.adjusted_count)))
    FROM
    (
        SELECT
            toString(v.experiment) AS experiment,
            toString(v.service_name) AS service_name,
            toString(v.environment) AS environment,
            toString(v.deployment_id) AS deployment_id,
            greatest(v.adjusted_count, 1) AS adjusted_count,
            max((v.last_seen, toString(v.version))) AS held,
            min(v.first_seen) AS first_seen,
            max(v.last_seen) AS last_seen,
            uniqMerge(v.traces) AS trace_count
        FROM versions AS v
        WHERE v.deployment_id != ''
        GROUP BY v.experiment, v.service_name, v.environment, v.deployment_id, adjusted_count
    ) AS s
    GROUP BY s.experiment, s.service_name, s.environment, s.deployment_id
) AS p
GROUP BY p.experiment, p.service_name, p.environment, p.deployment_id
-- A change that came after it was withdrawn declares nothing.
HAVING max(p.is_created) OR first_seen IS NOT NULL;
