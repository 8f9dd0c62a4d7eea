-- Return the events of a trace's spans, unordered; those of a retried span may occur twice.
--
-- They are read separately because they are eighteen streams in the table's files, and few spans
-- have any.

SELECT
    span_id,
    events
FROM spans
PREWHERE trace_id = unhex({trace_id:String})
    AND indexHint(toStartOfMinute(start_time) /*?in*/ IN {minutes:Array(UInt32)} /*in?*/)
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0,
    use_query_condition_cache = 0;
