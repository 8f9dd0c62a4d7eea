-- Return the properties of these traces as text, one row per trace, with hashes as in
-- analysis/traces.

SELECT
    trace_hash,
    r.4 AS route,
    r.5 AS service,
    r.6 AS environment,
    arrayStringConcat(models, ', ') AS model,
    if(r.7 != '', r.7, other_user) AS user
FROM
(
    SELECT
        cityHash64(trace_id) AS trace_hash,
        min((root.rank, root.start_time, root.span_id, root.name, root.service_name, root.environment, root.user_id)) AS r,
        max(user_id) AS other_user,
        arrayFilter(m -> m != '', arrayCompact(arraySort(groupArrayArray(billing.model)))) AS models
    FROM traces
    -- With `has` and the hash, because only then does the engine use the key.
    WHERE has({trace_hashes:Array(UInt64)}, cityHash64(trace_id))
        AND experiment = {experiment:String}
    GROUP BY trace_id
)
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
