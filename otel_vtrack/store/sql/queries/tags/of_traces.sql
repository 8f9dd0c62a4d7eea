-- Which tags have these traces, deleted ones included? One row a trace and key.

SELECT
    lower(hex(t.trace_id)) AS trace_id,
    t.key AS key,
    argMax((t.value, t.deleted), t.changed_at) AS kept
FROM tags_of_traces AS t
WHERE t.trace_id IN (SELECT toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16))
GROUP BY t.trace_id, t.key
ORDER BY t.trace_id, t.key;
