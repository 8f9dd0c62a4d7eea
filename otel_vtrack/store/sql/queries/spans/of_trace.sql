-- Return the spans of a trace, unordered; a retried one may occur twice.
--
-- The columns from which query.trace_spans builds a span, as stored: a function costs more to
-- analyse than a column to read. The resource is next to last, where it is easily compared with the
-- previous one. The minutes, in seconds since 1970, serve only to find the rows quickly, because
-- parts are sorted by them; rows are not compared with them.

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
-- For a few rows, a second thread, plan optimization and remembering where there are none cost more
-- than they gain.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0,
    use_query_condition_cache = 0;
