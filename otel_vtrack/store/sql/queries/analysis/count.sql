-- About how many traces has each of two versions in a time range?
--
-- Counts rows, which are traces once they are merged: good enough to decide on a sample.

SELECT
    countIf(root.version = {baseline_version:String}) AS baseline_count,
    countIf(root.version = {candidate_version:String}) AS candidate_count
FROM traces
WHERE root.version IN ({baseline_version:String}, {candidate_version:String})
    AND experiment = {experiment:String}
    AND root.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC');
