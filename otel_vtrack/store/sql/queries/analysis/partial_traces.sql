-- List the traces with more than one row, as hashes, by which the table is sorted.

SELECT cityHash64(t.trace_id) AS trace_hash
FROM traces AS t
WHERE cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
    AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
    AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
    AND t.experiment = {experiment:String}
GROUP BY trace_hash
HAVING count() > 1
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, optimize_aggregation_in_order = 1;
