-- Which spans has a trace? In no order; a retried one may come twice.
--
-- The columns by which query.trace_spans tells a span, each as it is: a function costs more to
-- analyse than a column to read. The resource stands where it can be seen to be the same as before,
-- next to last. The minutes, in seconds since 1970, are only what finds the rows quickly, as parts
-- are sorted by them: nothing else is compared with them.

SELECT
    span_id,
    parent_span_id,
    start_time,
    duration_ns,
    rare,
    shared,
    resource_attributes,
    attributes
FROM spans
PREWHERE trace_id = unhex({trace_id:String})
    AND indexHint(toStartOfMinute(start_time) /*?in*/ IN {minutes:Array(UInt32)} /*in?*/)
-- For a few rows a second thread, a search for a better plan, and to remember where these are not,
-- cost more than they gain.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0,
    use_query_condition_cache = 0;
