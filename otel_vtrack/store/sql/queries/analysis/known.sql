-- Return the number, time bounds and experiments of traces with spans of two versions, one row per
-- version and experiment.
--
-- An upper bound on the traces whose root has the version, from a table of few rows: distributing
-- them takes longer than reading them.

SELECT
    version,
    experiment,
    uniqMerge(traces) AS trace_count,
    toUnixTimestamp64Nano(min(first_seen)) AS first_ns,
    toUnixTimestamp64Nano(max(last_seen)) AS last_ns
FROM versions
WHERE version IN ({baseline_version:String}, {candidate_version:String})
    AND ({experiment:String} = '' OR experiment = {experiment:String})
    AND ({service_name:String} = '' OR service_name = {service_name:String})
    AND ({environment:String} = '' OR environment = {environment:String})
GROUP BY version, experiment
ORDER BY experiment, version
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, max_threads = 1;
