-- List the models and their providers named in spans.

SELECT DISTINCT
    toString(s.model) AS model,
    toString(s.provider) AS provider
FROM spans AS s
WHERE s.model != ''
LIMIT 100000
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
