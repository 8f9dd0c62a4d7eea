-- Which attributes have the spans of a trace? In no order; a retried one may come twice.
--
-- The other half of spans/outlines.

SELECT
    span_id,
    attributes
FROM spans
PREWHERE trace_id = unhex({trace_id:String})
    AND indexHint(toStartOfMinute(start_time) /*?in*/ IN {minutes:Array(UInt32)} /*in?*/)
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0,
    use_query_condition_cache = 0;
