-- What do the spans of a trace contain? In no order; a retried one may come twice.
--
-- The other half of spans/outlines.

SELECT
    span_id,
    start_time,
    attributes,
    attribute_types,
    events
FROM spans
PREWHERE trace_id = toFixedString(unhex({trace_id:String}), 16)
    AND toStartOfMinute(start_time) IN {minutes:Array(DateTime('UTC'))}
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0;
