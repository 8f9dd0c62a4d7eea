-- Return the start, end and start of the root of some traces, in each experiment.

SELECT
    lower(hex(t.trace_id)) AS trace_id,
    toString(t.experiment) AS experiment,
    toUnixTimestamp64Nano(min(t.start_time)) AS start_ns,
    toUnixTimestamp64Nano(max(t.end_time)) AS end_ns,
    toUnixTimestamp64Nano(argMin(t.root.start_time, (t.root.rank, t.root.start_time, t.root.span_id))) AS root_start_ns
FROM traces AS t
WHERE t.trace_id IN (SELECT toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16))
    AND cityHash64(t.trace_id) IN (SELECT cityHash64(toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16)))
GROUP BY t.trace_id, t.experiment;
