-- List the changes of assessments after a given one, by trace, including those from telemetry.

SELECT
    lower(hex(c.trace_id)) AS trace_id,
    c.assessment_id AS assessment_id,
    toUnixTimestamp64Nano(c.change_time) AS change_time,
    toString(c.change_id) AS change_id,
    toString(c.operation) AS operation,
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
    toString(c.assessment_type) AS assessment_type,
    toString(c.source_type) AS source_type,
    c.source_id AS source_id,
    c.overrides AS overrides
FROM assessments AS c FINAL
WHERE c.trace_id >= toFixedString(unhex({after_trace_id:String}), 16)
    AND (c.trace_id, c.assessment_id, c.change_time, c.change_id) > (toFixedString(unhex({after_trace_id:String}), 16), {after_assessment_id:String}, fromUnixTimestamp64Nano({after_time:Int64}, 'UTC'), toUUIDOrZero({after_change_id:String}))
    AND ({experiment:String} = '' OR c.experiment = {experiment:String})
ORDER BY c.trace_id, c.assessment_id, c.change_time, c.change_id
LIMIT {max_rows:UInt32};
