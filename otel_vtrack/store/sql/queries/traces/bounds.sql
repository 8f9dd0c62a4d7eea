-- Between which times did a trace happen? Rows are partial; its spans are found by these bounds.
--
-- Given where to look, the engine has nothing to gain by looking for a better plan.

SELECT
    start_time,
    end_time
FROM traces
PREWHERE cityHash64(trace_id) = cityHash64(toFixedString(unhex({trace_id:String}), 16))
    AND trace_id = toFixedString(unhex({trace_id:String}), 16)
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0;
