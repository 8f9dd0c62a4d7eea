-- Which rows of `trace_roots` match, the first `candidates` in order that stand behind a place?
--
-- Each says what its insert knew of the root; whether that is what the trace is, query.trace_search
-- sees once it has the trace. See traces/find for the places marked for conditions; `row_first`
-- is what the rows are sorted by first, which the engine does best by the table's own order. Where a few
-- rows of this table are all that is read, one thread takes less than several: `threads`.

SELECT
    lower(hex(t.trace_id)) AS id,
    t.experiment AS named,
    toUnixTimestamp64Nano(t.start_time) AS root_start_ns,
    (t.root.rank, t.root.name, t.root.service_name, t.root.version, t.root.environment, t.root.deployment_id, t.root.status_code) AS said,
    /*?row_place*/ tuple(toString(toUnixTimestamp64Nano(t.start_time))) /*row_place?*/ AS place
FROM
(
    SELECT t.trace_id, t.experiment, t.start_time, t.root
    FROM trace_roots AS t
    WHERE /*?row*/ 1 /*row?*/
        AND /*?row_after*/ 1 /*row_after?*/
    ORDER BY /*?row_first*/ t.start_time DESC /*row_first?*/
    LIMIT {candidates:UInt64} WITH TIES
) AS t
ORDER BY /*?row_order*/ t.start_time DESC, t.trace_id, t.experiment /*row_order?*/
LIMIT {candidates:UInt64}
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, max_threads = /*?threads*/ 0 /*threads?*/;
