-- Return the partial rows of some traces, which query.partial merges by trace and experiment. Tags
-- and previews are in traces/root_facts.
--
-- Columns are returned as stored: analysing a function for each takes as long as reading a trace.

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
-- With `has` and the hash first, because only then does the engine use the key.
WHERE has(arrayMap(id -> cityHash64(toFixedString(unhex(id), 16)), {trace_ids:Array(String)}), cityHash64(trace_id))
    AND has(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)}), trace_id)
-- For a few traces a second thread costs more than it gains.
SETTINGS max_threads = 1;
