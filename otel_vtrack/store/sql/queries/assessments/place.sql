-- Return what is needed before assessing a trace: its experiments, that of its root first; the
-- holder of the requested ID; and of the assessment to be overridden, its session and whether it
-- was deleted.

SELECT
    (
        SELECT groupArray(experiment)
        FROM
        (
            SELECT t.experiment AS experiment
            FROM traces AS t
            WHERE cityHash64(t.trace_id) = cityHash64(toFixedString(unhex({trace_id:String}), 16))
                AND t.trace_id = toFixedString(unhex({trace_id:String}), 16)
            GROUP BY t.experiment
            ORDER BY min(t.root)
        )
    ) AS experiments,
    (SELECT count() FROM assessments AS a WHERE a.assessment_id = {assessment_id:String}) AS id_taken,
    (
        SELECT (countIf(o.operation = 'create'), countIf(o.operation = 'delete'), max(o.session_id))
        FROM assessments AS o
        WHERE o.trace_id = toFixedString(unhex({trace_id:String}), 16) AND o.assessment_id = {overrides:String}
    ) AS overridden;
