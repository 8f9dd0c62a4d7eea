-- Return the feedback of a given name on traces, one row per valid assessment; columns have a fixed
-- width. Numbers are NaN if the value is neither a number nor true, false, yes or no.

SELECT
    cityHash64(a.trace_key) AS trace_hash,
    cityHash64(a.value) AS value_hash,
    ifNull(a.number, nan) AS number,
    (a.value_type = 'number')::UInt8 AS is_number
FROM current_assessments AS a
WHERE a.assessment_name = {name:String}
    AND a.assessment_type = 'feedback'
    AND a.valid
    AND a.session_id = ''
    AND a.value NOT IN ('', 'null')
    AND cityHash64(a.trace_key) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
