-- List the changes of the assessments of these traces.

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
WHERE c.trace_id IN (SELECT toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16))
SETTINGS max_threads = 1;
