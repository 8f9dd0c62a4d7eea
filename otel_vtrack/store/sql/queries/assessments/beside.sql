-- Return the changes to all assessments of the same trace and session as a given one, itself
-- included, as query.assessment_changes reads them. Those that override it are among them.

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
WHERE (trace_id, session_id) GLOBAL IN
(
    SELECT g.trace_id, g.session_id
    FROM assessments AS g
    WHERE g.assessment_id = {assessment_id:String}
)
SETTINGS max_threads = 1;
