-- Count the assessments that would be deleted with an experiment.

SELECT count() AS assessment_count
FROM
(
    SELECT a.trace_id, a.assessment_id
    FROM assessments AS a
    WHERE a.experiment = {experiment:String}
        OR a.trace_id GLOBAL IN
        (
            SELECT t.trace_id
            FROM traces AS t
            WHERE t.trace_id GLOBAL IN (SELECT s.trace_id FROM assessments AS s)
            GROUP BY t.trace_id
            HAVING countIf(t.experiment = {experiment:String}) > 0 AND countIf(t.experiment != {experiment:String}) = 0
        )
    GROUP BY a.trace_id, a.assessment_id
    HAVING countIf(a.operation = 'delete') = 0 AND countIf(a.operation = 'create') > 0
);
