-- About how many traces have one of two versions in a time range?
--
-- Counts rows, which are traces once they are merged: good enough to decide on a sample.

SELECT count() AS trace_count
FROM traces
WHERE root.version IN ({baseline_version:String}, {candidate_version:String})
    AND ({experiment:String} = '' OR experiment = {experiment:String})
    AND root.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC');
