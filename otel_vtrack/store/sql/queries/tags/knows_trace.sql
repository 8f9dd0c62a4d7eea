-- Is a span of this trace stored? One row if so.

SELECT 1 AS known
FROM traces
WHERE cityHash64(trace_id) = cityHash64(toFixedString(unhex({trace_id:String}), 16))
    AND trace_id = toFixedString(unhex({trace_id:String}), 16)
LIMIT 1;
