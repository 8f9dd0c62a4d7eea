-- Return the changes to the assessments of these sessions, as query.assessment_changes reads them.

SELECT
    trace_id,
    assessment_id,
    change_time,
    change_id,
    operation,
    experiment,
    session_id,
    assessment_name,
    value,
    error_code,
    error_message,
    stack_trace,
    rationale,
    metadata,
    span_id,
    assessment_type,
    source_type,
    source_id,
    overrides
FROM assessments
PREWHERE /*?which*/ session_id IN (SELECT arrayJoin({session_ids:Array(String)})) /*which?*/
-- For a few rows, a second thread and plan optimization cost more than they gain.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0,
    max_execution_time = 60, max_memory_usage = 2000000000;
