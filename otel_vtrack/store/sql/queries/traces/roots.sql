-- Which rows of `trace_roots` match, the first `candidates` in order that stand behind a place?
--
-- Each says what its insert knew of the root; whether that is what the trace is, query.trace_search
-- sees once it has the trace. See traces/find for the places marked for conditions; `row_first`
-- is what the rows are sorted by, which the engine does best by the table's own order; `row_ties`
-- may ask for all that stand where the last one does. Where a few rows of this table are all that
-- is read, one thread takes less than several: `threads`; and to say `where` what is read first
-- less than to let the engine find out, as to say nothing of a place (`row_behind`) where there is
-- none. Columns as they are, for the sake of time.

SELECT
    t.trace_id AS trace_id,
    t.experiment AS experiment,
    t.start_time AS start_time,
    t.root AS root,
    /*?row_place*/ tuple(toString(toUnixTimestamp64Nano(t.start_time))) /*row_place?*/ AS place
FROM trace_roots AS t
/*?where*/ WHERE /*where?*/ /*?row*/ 1 /*row?*/ /*?row_behind*/ AND 1 /*row_behind?*/
ORDER BY /*?row_first*/ t.start_time DESC /*row_first?*/
LIMIT {candidates:UInt64} /*?row_ties*/ WITH TIES /*row_ties?*/
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, max_threads = /*?threads*/ 0 /*threads?*/;
