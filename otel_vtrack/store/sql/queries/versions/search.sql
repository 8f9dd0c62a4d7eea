-- List versions in the requested order. Their places are in versions/places, and their flags,
-- aliases and notes in versions/told, which are read in parallel.
--
-- Traces count as many times as they represent, and those with the same adjusted count are counted
-- together: the keys of the maps are the bits of that count. A trace whose spans have different
-- adjusted counts is counted with each. If a version has several (`weights`), its counts are those
-- of versions/weighed, which is queried first if filters or sort keys use them. Merging states
-- takes most of the time, so they are merged once. The parts are compiled from a filter of the
-- search language; without flag, alias or note, nothing of versions/told is needed. If the cost of
-- versions is needed, it is summed before: `cost` takes it from `costs`, a JSON list parallel to
-- that of `keys`.

SELECT
    v.experiment AS experiment,
    v.service_name AS service_name,
    v.version AS version,
    v.git_commit AS git_commit,
    v.git_branch AS git_branch,
    v.git_dirty AS git_dirty,
    v.repository_url AS repository_url,
    toUnixTimestamp64Nano(v.first_seen) AS first_seen_ns,
    toUnixTimestamp64Nano(v.last_seen) AS last_seen_ns,
    v.trace_count AS trace_count,
    v.error_trace_count AS error_trace_count,
    v.stored_count AS stored_count,
    v.weights AS weights,
    v.session_count AS session_count,
    v.user_count AS user_count,
    /*?place*/ tuple(toString(v.last_seen)) /*place?*/ AS place
FROM
(
    SELECT
        /*?told*/
        arraySort(f.flags) AS flags,
        arraySort(n.aliases) AS aliases,
        c.note AS note,
        /*told?*/
        /*?cost*/ NULL::Nullable(Float64) /*cost?*/ AS cost,
        a.experiment AS experiment,
        a.service_name AS service_name,
        a.version AS version,
        a.git_commit AS git_commit,
        a.git_branch AS git_branch,
        a.git_dirty AS git_dirty,
        a.repository_url AS repository_url,
        a.first_seen AS first_seen,
        a.last_seen AS last_seen,
        /*?trace_count*/ toUInt64(round(arraySum((bits, found) -> found * reinterpretAsFloat32(bits), mapKeys(a.traces), mapValues(a.traces)))) /*trace_count?*/ AS trace_count,
        /*?error_trace_count*/ toUInt64(round(arraySum((bits, found) -> found * reinterpretAsFloat32(bits), mapKeys(a.error_traces), mapValues(a.error_traces)))) /*error_trace_count?*/ AS error_trace_count,
        arraySum(mapValues(a.traces)) AS stored_count,
        length(a.traces) AS weights,
        a.session_count AS session_count,
        a.user_count AS user_count
    FROM
    (
        SELECT
            toString(v.experiment) AS experiment,
            toString(v.service_name) AS service_name,
            toString(v.version) AS version,
            max(v.git_commit) AS git_commit,
            max(v.git_branch) AS git_branch,
            max(v.git_dirty) AS git_dirty,
            max(v.repository_url) AS repository_url,
            min(v.first_seen) AS first_seen,
            max(v.last_seen) AS last_seen,
            -- A trace may be in several places, and a session or a user in several traces.
            uniqMergeMap(map(reinterpretAsUInt32(greatest(v.adjusted_count, 1::Float32)), v.traces)) AS traces,
            uniqMergeMap(map(reinterpretAsUInt32(greatest(v.adjusted_count, 1::Float32)), v.error_traces)) AS error_traces,
            uniqMerge(v.sessions) AS session_count,
            uniqMerge(v.users) AS user_count
        FROM versions AS v
        WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
            AND ({service_name:String} = '' OR v.service_name = {service_name:String})
            AND ({any_version:UInt8} OR v.version = {version:String})
            AND /*?places*/ 1 /*places?*/
        GROUP BY v.experiment, v.service_name, v.version
    ) AS a
    /*?telling*/
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
    /*telling?*/
) AS v
WHERE /*?where*/ 1 /*where?*/
ORDER BY /*?order*/ v.last_seen DESC, v.experiment, v.service_name, v.version /*order?*/
LIMIT {wanted:UInt64}
-- There are few rows: distributing them takes longer than reading them.
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, max_threads = 1;
