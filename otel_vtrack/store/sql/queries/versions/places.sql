-- Return where versions ran, one row per version, the place last seen first; counts as in
-- versions/search.

SELECT
    p.experiment AS experiment,
    p.service_name AS service_name,
    p.version AS version,
    arrayReverseSort(x -> (x.4, x.1, x.2), groupArray((
        p.environment,
        p.deployment_id,
        toUnixTimestamp64Nano(p.first_seen),
        toUnixTimestamp64Nano(p.last_seen),
        toUInt64(round(arraySum((bits, found) -> found * reinterpretAsFloat32(bits), mapKeys(p.traces), mapValues(p.traces)))),
        toUInt64(round(arraySum((bits, found) -> found * reinterpretAsFloat32(bits), mapKeys(p.error_traces), mapValues(p.error_traces)))),
        p.session_count,
        p.user_count))) AS places
FROM
(
    SELECT
        toString(v.experiment) AS experiment,
        toString(v.service_name) AS service_name,
        toString(v.version) AS version,
        toString(v.environment) AS environment,
        toString(v.deployment_id) AS deployment_id,
        min(v.first_seen) AS first_seen,
        max(v.last_seen) AS last_seen,
        uniqMergeMap(map(reinterpretAsUInt32(greatest(v.adjusted_count, 1::Float32)), v.traces)) AS traces,
        uniqMergeMap(map(reinterpretAsUInt32(greatest(v.adjusted_count, 1::Float32)), v.error_traces)) AS error_traces,
        uniqMerge(v.sessions) AS session_count,
        uniqMerge(v.users) AS user_count
    FROM versions AS v
    WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
        AND ({service_name:String} = '' OR v.service_name = {service_name:String})
        AND ({any_version:UInt8} OR v.version = {version:String})
        AND /*?places*/ 1 /*places?*/
    GROUP BY v.experiment, v.service_name, v.version, v.environment, v.deployment_id
) AS p
GROUP BY p.experiment, p.service_name, p.version
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, max_threads = 1;
