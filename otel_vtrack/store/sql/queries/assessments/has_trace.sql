-- Return one row if the trace has an assessment, even if it was deleted.

SELECT 1 AS found
FROM assessments
PREWHERE trace_id = unhex({trace_id:String})
LIMIT 1
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0;
