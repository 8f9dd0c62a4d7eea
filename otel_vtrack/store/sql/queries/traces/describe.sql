-- What does the store have of these traces? Rows are partial, and query.partial puts those of a
-- trace and experiment together. Tags and previews: traces/root_facts.
--
-- Columns as they are: analysing a function for each takes as long as reading one trace.

SELECT
    trace_id,
    start_time,
    end_time,
    root,
    experiment,
    session_id,
    user_id,
    edges,
    errors,
    usage,
    billing,
    adjusted_count
FROM traces
-- By `has` and by the hash first: only so does the engine find the place in the key.
WHERE has(arrayMap(id -> cityHash64(toFixedString(unhex(id), 16)), {trace_ids:Array(String)}), cityHash64(trace_id))
    AND has(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)}), trace_id)
-- For a few traces a second thread costs more than it does.
SETTINGS max_threads = 1;
