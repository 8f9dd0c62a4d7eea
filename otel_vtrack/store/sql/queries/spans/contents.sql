-- What do the spans of a trace contain, and how many events has each? In no order; a retried one
-- may come twice.
--
-- The other half of spans/outlines.

SELECT
    span_id,
    attributes,
    attribute_types,
    events.size0
FROM spans
PREWHERE trace_id = unhex({trace_id:String})
    AND indexHint(toStartOfMinute(start_time) /*?in*/ IN {minutes:Array(UInt32)} /*in?*/)
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0;
