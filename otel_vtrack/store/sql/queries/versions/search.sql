-- Which versions are there, each with where it ran, in the order asked for?
--
-- Each place is put together first, since a filter on places decides which of them count. Traces
-- count as many as they stand for, so those that stand for as many are counted together. The
-- parts are what a filter of the search language compiles to.

SELECT
    v.experiment AS experiment,
    v.service_name AS service_name,
    v.version AS version,
    v.places AS places,
    v.git_commit AS git_commit,
    v.git_branch AS git_branch,
    v.git_dirty AS git_dirty,
    v.repository_url AS repository_url,
    toUnixTimestamp64Nano(v.first_seen) AS first_seen_ns,
    toUnixTimestamp64Nano(v.last_seen) AS last_seen_ns,
    v.trace_count AS trace_count,
    v.error_trace_count AS error_trace_count,
    v.stored_count AS stored_count,
    v.session_count AS session_count,
    v.user_count AS user_count,
    v.flags AS flags,
    v.aliases AS aliases,
    v.note AS note,
    /*?place*/ tuple(toString(v.last_seen)) /*place?*/ AS place
FROM
(
    SELECT
        a.experiment AS experiment,
        a.service_name AS service_name,
        a.version AS version,
        a.places AS places,
        a.git_commit AS git_commit,
        a.git_branch AS git_branch,
        a.git_dirty AS git_dirty,
        a.repository_url AS repository_url,
        a.first_seen AS first_seen,
        a.last_seen AS last_seen,
        t.trace_count AS trace_count,
        t.error_trace_count AS error_trace_count,
        t.stored_count AS stored_count,
        a.session_count AS session_count,
        a.user_count AS user_count,
        arraySort(f.flags) AS flags,
        arraySort(n.aliases) AS aliases,
        c.note AS note
    FROM
    (
        SELECT
            p.experiment AS experiment,
            p.service_name AS service_name,
            p.version AS version,
            arrayReverseSort(x -> (x.4, x.1, x.2), groupArray((
                p.environment,
                p.deployment_id,
                toUnixTimestamp64Nano(p.first_seen),
                toUnixTimestamp64Nano(p.last_seen),
                p.trace_count,
                p.error_trace_count,
                finalizeAggregation(p.sessions),
                finalizeAggregation(p.users)))) AS places,
            max(p.git_commit) AS git_commit,
            max(p.git_branch) AS git_branch,
            max(p.git_dirty) AS git_dirty,
            max(p.repository_url) AS repository_url,
            min(p.first_seen) AS first_seen,
            max(p.last_seen) AS last_seen,
            uniqMerge(p.sessions) AS session_count,
            uniqMerge(p.users) AS user_count
        FROM
        (
            SELECT
                q.experiment AS experiment,
                q.service_name AS service_name,
                q.version AS version,
                q.environment AS environment,
                q.deployment_id AS deployment_id,
                max(q.git_commit) AS git_commit,
                max(q.git_branch) AS git_branch,
                max(q.git_dirty) AS git_dirty,
                max(q.repository_url) AS repository_url,
                min(q.first_seen) AS first_seen,
                max(q.last_seen) AS last_seen,
                toUInt64(round(sum(q.trace_count * q.adjusted_count))) AS trace_count,
                toUInt64(round(sum(q.error_trace_count * q.adjusted_count))) AS error_trace_count,
                uniqMergeState(q.sessions) AS sessions,
                uniqMergeState(q.users) AS users
            FROM
            (
                SELECT
                    toString(v.experiment) AS experiment,
                    toString(v.service_name) AS service_name,
                    toString(v.version) AS version,
                    toString(v.environment) AS environment,
                    toString(v.deployment_id) AS deployment_id,
                    greatest(v.adjusted_count, 1) AS adjusted_count,
                    max(v.git_commit) AS git_commit,
                    max(v.git_branch) AS git_branch,
                    max(v.git_dirty) AS git_dirty,
                    max(v.repository_url) AS repository_url,
                    min(v.first_seen) AS first_seen,
                    max(v.last_seen) AS last_seen,
                    uniqMerge(v.traces) AS trace_count,
                    uniqMerge(v.error_traces) AS error_trace_count,
                    uniqMergeState(v.sessions) AS sessions,
                    uniqMergeState(v.users) AS users
                FROM versions AS v
                WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
                    AND ({service_name:String} = '' OR v.service_name = {service_name:String})
                    AND ({any_version:UInt8} OR v.version = {version:String})
                    AND /*?places*/ 1 /*places?*/
                GROUP BY v.experiment, v.service_name, v.version, v.environment, v.deployment_id, adjusted_count
            ) AS q
            GROUP BY q.experiment, q.service_name, q.version, q.environment, q.deployment_id
        ) AS p
        GROUP BY p.experiment, p.service_name, p.version
    ) AS a
    INNER JOIN
    (
        -- A trace may be in several places.
        SELECT
            q.experiment AS experiment,
            q.service_name AS service_name,
            q.version AS version,
            toUInt64(round(sum(q.trace_count * q.adjusted_count))) AS trace_count,
            toUInt64(round(sum(q.error_trace_count * q.adjusted_count))) AS error_trace_count,
            sum(q.trace_count) AS stored_count
        FROM
        (
            SELECT
                toString(v.experiment) AS experiment,
                toString(v.service_name) AS service_name,
                toString(v.version) AS version,
                greatest(v.adjusted_count, 1) AS adjusted_count,
                uniqMerge(v.traces) AS trace_count,
                uniqMerge(v.error_traces) AS error_trace_count
            FROM versions AS v
            WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
                AND ({service_name:String} = '' OR v.service_name = {service_name:String})
                AND ({any_version:UInt8} OR v.version = {version:String})
                AND /*?places*/ 1 /*places?*/
            GROUP BY v.experiment, v.service_name, v.version, adjusted_count
        ) AS q
        GROUP BY q.experiment, q.service_name, q.version
    ) AS t ON t.experiment = a.experiment AND t.service_name = a.service_name AND t.version = a.version
    LEFT JOIN
    (
        SELECT
            toString(v.experiment) AS experiment,
            toString(v.service_name) AS service_name,
            toString(v.version) AS version,
            groupUniqArrayArray(100)(v.flags) AS flags
        FROM version_flags AS v
        WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
            AND ({any_version:UInt8} OR v.version = {version:String})
            AND /*?places*/ 1 /*places?*/
        GROUP BY v.experiment, v.service_name, v.version
    ) AS f ON f.experiment = a.experiment AND f.service_name = a.service_name AND f.version = a.version
    LEFT JOIN
    (
        SELECT l.experiment AS experiment, l.service_name AS service_name, l.held.1 AS version, groupArray(l.alias) AS aliases
        FROM
        (
            SELECT
                h.experiment AS experiment,
                h.service_name AS service_name,
                h.alias AS alias,
                argMax((h.version, h.deleted), (h.change_time, h.change_id)) AS held
            FROM version_aliases AS h
            GROUP BY h.experiment, h.service_name, h.alias
        ) AS l
        WHERE NOT l.held.2
        GROUP BY l.experiment, l.service_name, l.held.1
    ) AS n ON n.experiment = a.experiment AND n.service_name = a.service_name AND n.version = a.version
    LEFT JOIN
    (
        SELECT
            h.experiment AS experiment,
            h.service_name AS service_name,
            h.version AS version,
            ifNull(argMax(h.note, (h.change_time, h.change_id)), '') AS note
        FROM version_changes AS h
        GROUP BY h.experiment, h.service_name, h.version
    ) AS c ON c.experiment = a.experiment AND c.service_name = a.service_name AND c.version = a.version
) AS v
WHERE /*?where*/ 1 /*where?*/
ORDER BY /*?order*/ v.last_seen DESC, v.experiment, v.service_name, v.version /*order?*/
LIMIT {wanted:UInt64};
