-- Count the feedback on traces by name, one row per name.

SELECT
    a.assessment_name AS name,
    count() AS assessment_count
FROM current_assessments AS a
WHERE a.assessment_type = 'feedback'
    AND a.valid
    AND a.session_id = ''
    AND a.experiment = {experiment:String}
GROUP BY name
ORDER BY assessment_count DESC, name
LIMIT 1000
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
