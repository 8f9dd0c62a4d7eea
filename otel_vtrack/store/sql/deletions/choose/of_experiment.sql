-- List for deletion an experiment's traces that have tags or assessments, as these belong to no
-- experiment. All other rows are deleted by the experiment's name, without a list of its traces.

INSERT INTO doomed_traces (deletion_id, experiment, trace_id, is_whole, start_time, end_time)
/*@SETTINGS distributed_foreground_insert = 1*/
SELECT
    {deletion_id:UUID},
    {experiment:String},
    t.trace_id,
    countIf(t.experiment != {experiment:String}) = 0,
    minIf(t.start_time, t.experiment = {experiment:String}),
    maxIf(t.end_time, t.experiment = {experiment:String})
FROM traces AS t
WHERE t.trace_id GLOBAL IN
(
    SELECT a.trace_id FROM assessments AS a
    UNION DISTINCT
    SELECT g.trace_id FROM trace_tags AS g
    UNION DISTINCT
    SELECT o.trace_id FROM tags_of_traces AS o
)
GROUP BY t.trace_id
HAVING countIf(t.experiment = {experiment:String}) > 0;
