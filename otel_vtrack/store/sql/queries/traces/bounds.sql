-- Between which times did a trace happen? Rows are partial; its spans are found by these bounds.

SELECT
    start_time,
    end_time
FROM traces
WHERE cityHash64(trace_id) = cityHash64(toFixedString(unhex({trace_id:String}), 16))
    AND trace_id = toFixedString(unhex({trace_id:String}), 16)
SETTINGS max_threads = 1;
