-- List the changes of all assessments of the same trace and session as a given one, itself
-- included. Those that override it are among them.

SELECT
    lower(hex(c.trace_id)) AS trace_id,
    c.assessment_id AS assessment_id,
    toUnixTimestamp64Nano(c.change_time) AS change_time_ns,
    c.change_id AS change_id,
    toUInt8(c.operation) AS operation,
    c.experiment AS experiment,
    c.session_id AS session_id,
    c.assessment_name AS assessment_name,
    c.value AS value,
    c.error_code AS error_code,
    c.error_message AS error_message,
    c.stack_trace AS stack_trace,
    c.rationale AS rationale,
    c.metadata AS metadata,
    lower(hex(c.span_id)) AS span_id,
    toUInt8(c.assessment_type) AS assessment_type,
    toUInt8(c.source_type) AS source_type,
    c.source_id AS source_id,
    c.overrides AS overrides
FROM assessments AS c
WHERE (c.trace_id, c.session_id) GLOBAL IN (SELECT g.trace_id, g.session_id FROM assessments AS g WHERE g.assessment_id = {assessment_id:String})
SETTINGS max_threads = 1;
