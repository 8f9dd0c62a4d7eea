-- Count the matching traces, each as many times as it represents. See traces/find for the marked
-- places.

SELECT toUInt64(round(sum(t.adjusted_count))) AS trace_count
FROM /*?from*/ whole_traces AS t /*from?*/
WHERE /*?whole*/ 1 /*whole?*/
-- See traces/wholes.
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, query_plan_merge_expressions = 0;
