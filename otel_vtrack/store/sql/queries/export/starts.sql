-- Return the start, end and experiments of some traces.

SELECT
    lower(hex(t.trace_id)) AS trace_id,
    toUnixTimestamp64Nano(min(t.start_time)) AS start_ns,
    toUnixTimestamp64Nano(max(t.end_time)) AS end_ns,
    groupUniqArray(toString(t.experiment)) AS experiments
FROM traces AS t
WHERE t.trace_id IN (SELECT toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16))
    AND cityHash64(t.trace_id) IN (SELECT cityHash64(toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16)))
GROUP BY t.trace_id;
