-- Return one row if any span of this trace is stored.

SELECT 1 AS known
FROM traces
WHERE cityHash64(trace_id) = cityHash64(toFixedString(unhex({trace_id:String}), 16))
    AND trace_id = toFixedString(unhex({trace_id:String}), 16)
LIMIT 1;
