-- List these traces for deletion, whole. One that is in no experiment may still have tags,
-- assessments or log records.

INSERT INTO doomed_traces (deletion_id, experiment, trace_id, is_whole, start_time, end_time)
/*@SETTINGS distributed_foreground_insert = 1*/
SELECT {deletion_id:UUID}, t.experiment, t.trace_id, true, min(t.start_time), max(t.end_time)
FROM traces AS t
WHERE has(arrayMap(id -> cityHash64(toFixedString(unhex(id), 16)), {trace_ids:Array(String)}), cityHash64(t.trace_id))
    AND has(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)}), t.trace_id)
GROUP BY t.trace_id, t.experiment
UNION ALL
SELECT {deletion_id:UUID}, '', toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16), true, toDateTime64(0, 9, 'UTC'), toDateTime64(0, 9, 'UTC');
