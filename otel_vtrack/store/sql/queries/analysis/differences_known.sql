-- Return the number of traces with spans of two versions in an experiment, and their time bounds.
-- One row per version, from a table of few rows.

SELECT
    v.version = {candidate_version:String} AS is_candidate,
    uniqMerge(v.traces) AS trace_count,
    toUnixTimestamp64Nano(min(v.first_seen)) AS first_ns,
    toUnixTimestamp64Nano(max(v.last_seen)) AS last_ns
FROM versions AS v
WHERE v.version IN ({baseline_version:String}, {candidate_version:String})
    AND v.experiment = {experiment:String}
    AND ({service_name:String} = '' OR v.service_name = {service_name:String})
    AND ({environment:String} = '' OR v.environment = {environment:String})
GROUP BY is_candidate
ORDER BY is_candidate
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
