-- Estimate the number of traces of each of two versions in a time range.
--
-- Counts rows of roots, which equal traces once they are merged: good enough to decide on a sample.

SELECT
    countIf(root.version = {baseline_version:String}) AS baseline_count,
    countIf(root.version = {candidate_version:String}) AS candidate_count
FROM trace_roots
WHERE root.version IN ({baseline_version:String}, {candidate_version:String})
    AND experiment = {experiment:String}
    AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND /*?own_times*/ 1 /*own_times?*/
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
