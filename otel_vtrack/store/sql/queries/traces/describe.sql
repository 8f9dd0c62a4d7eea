-- What are these traces, in each experiment they cross? Tags and previews: traces/root_facts.
--
-- All in one step and with the root whole: analysing a second step, and a column for each field,
-- takes as long as reading one trace.

SELECT
    lower(hex(t.trace_id)) AS trace_id,
    t.experiment AS experiment,
    min(t.root) AS stands_for,
    toUnixTimestamp64Nano(stands_for.start_time) AS root_start_ns,
    toUnixTimestamp64Nano(min(t.start_time)) AS request_time_ns,
    toUnixTimestamp64Nano(max(t.end_time)) AS end_ns,
    max(t.session_id) AS any_session_id,
    max(t.user_id) AS any_user_id,
    groupUniqArrayArray(t.edges) AS tree,
    length(groupUniqArrayArray(t.errors)) AS error_count,
    groupUniqArrayArray(t.usage) AS reported
FROM traces AS t
-- By `has` and by the hash first: only so does the engine find the place in the key.
WHERE has(arrayMap(id -> cityHash64(toFixedString(unhex(id), 16)), {trace_ids:Array(String)}), cityHash64(t.trace_id))
    AND has(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)}), t.trace_id)
GROUP BY t.trace_id, t.experiment
-- For a few traces a second thread costs more than it does.
SETTINGS max_threads = 1;
