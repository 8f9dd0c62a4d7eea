-- What is there of the spans of a trace, apart from their contents? In no order; a retried one
-- may come twice.
--
-- Half of the columns by which GetTrace tells a trace, each as it is, as in spans/list. Those of
-- spans/contents are read beside them, as each half takes as long as the other; where two rows
-- belong together, start and id are the same. What comes of resource and scope comes last, so
-- that query.export can see that it is the same as before.

SELECT
    span_id,
    start_time,
    parent_span_id,
    flags,
    kind,
    duration_ns,
    status_code,
    adjusted_count,
    name,
    rare,
    experiment,
    resource_attributes,
    resource_attribute_types,
    resource_schema_url,
    scope_name,
    scope_version,
    scope_schema_url
FROM spans
PREWHERE trace_id = toFixedString(unhex({trace_id:String}), 16)
    AND toStartOfMinute(start_time) IN {minutes:Array(DateTime('UTC'))}
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0;
