-- Return the text of some values of the feedback of a given name, which are given as hashes.

SELECT
    cityHash64(a.value) AS value_hash,
    any(if(a.value_type = 'string', JSONExtractString(a.value), a.value)) AS category
FROM current_assessments AS a
WHERE a.assessment_name = {name:String}
    AND a.assessment_type = 'feedback'
    AND a.valid
    AND a.session_id = ''
    AND has({value_hashes:Array(UInt64)}, cityHash64(a.value))
GROUP BY value_hash
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
