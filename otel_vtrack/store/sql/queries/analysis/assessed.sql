-- What feedback have traces got by one name? One row an assessment that is valid; columns have
-- one width. Numbers are NaN where the value is none, and neither true, false, yes nor no.

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
