-- Return one row if any trace or session has an assessment.

SELECT 1 AS found
FROM assessments
LIMIT 1
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0;
