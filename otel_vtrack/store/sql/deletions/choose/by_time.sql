-- List for deletion an experiment's traces whose root started before a time, earliest first.

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
WHERE t.trace_id GLOBAL IN (SELECT s.trace_id FROM traces AS s WHERE s.experiment = {experiment:String})
GROUP BY t.trace_id
HAVING minIf((t.root.rank, t.root.start_time), t.experiment = {experiment:String}).2 < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
ORDER BY minIf((t.root.rank, t.root.start_time), t.experiment = {experiment:String}).2
LIMIT {most:UInt64};
