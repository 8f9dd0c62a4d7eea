-- Find the first `candidates` matching rows of `trace_roots` after a place in the order.
--
-- Each row has what its insert knew of the root; query.trace_search checks this once it has loaded
-- the trace. See traces/find for the marked places. `row_first` is the sort key, for which the
-- table's own order is the fastest; `row_ties` may add all rows that sort equal to the last one. If
-- only a few rows of this table are read, one thread is faster than several (`threads`), naming
-- what to read first (`where`) is faster than letting the engine find out, and so is omitting the
-- condition on the place (`row_behind`) if there is none. Columns are returned as stored, to save
-- time.

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
