-- Return the tags of these traces, including deleted ones. A tag that changed may occur once per
-- change; query.tags takes the last.

SELECT
    trace_id,
    key,
    value,
    changed_at,
    deleted
FROM tags_of_traces
PREWHERE /*?which*/ has(arrayMap(id -> toFixedString(unhex(id), 16), splitByChar(',', {trace_ids:String})), trace_id) /*which?*/
-- For a few rows, a second thread and plan optimization cost more than they gain.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, output_format_parallel_formatting = 0;
