-- Summarize the traces that a deletion has marked as doomed.

SELECT
    count() AS row_count,
    uniqExactIf(d.trace_id, d.experiment != '') AS trace_count,
    toUnixTimestamp64Nano(minIf(d.start_time, d.experiment != '')) AS from_ns,
    toUnixTimestamp64Nano(maxIf(d.end_time, d.experiment != '')) AS until_ns
FROM doomed_traces AS d
WHERE d.deletion_id = toUUIDOrZero({deletion_id:String});
