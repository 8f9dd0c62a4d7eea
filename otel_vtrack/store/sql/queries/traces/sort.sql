-- Find the first matching traces in an order that is known only for whole traces, so all are
-- merged.
--
-- See traces/find for the marked places.

SELECT
    lower(hex(t.trace_id)) AS id,
    t.experiment AS named,
    toUnixTimestamp64Nano(t.root.start_time) AS root_start_ns,
    /*?place*/ tuple(toString(toUnixTimestamp64Nano(t.root.start_time))) /*place?*/ AS place
FROM /*?from*/ whole_traces AS t /*from?*/ /*?joins*/ /*joins?*/
WHERE /*?whole*/ 1 /*whole?*/
    AND /*?after*/ 1 /*after?*/
ORDER BY /*?order*/ t.root.start_time DESC, t.trace_id, t.experiment /*order?*/
LIMIT {wanted:UInt64}
-- See traces/wholes.
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, query_plan_merge_expressions = 0;
