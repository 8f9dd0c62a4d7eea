-- List for deletion the traces whose root started before a time, but which ended at or after it.
-- Only IDs whose hash is in a range, which lie together in the table.

INSERT INTO doomed_traces (deletion_id, experiment, trace_id, is_whole, start_time, end_time)
/*@SETTINGS distributed_foreground_insert = 1*/
SELECT {deletion_id:UUID}, any(t.experiment), t.trace_id, true, min(t.start_time), max(t.end_time)
FROM traces AS t
WHERE cityHash64(t.trace_id) BETWEEN {first_hash:UInt64} AND {last_hash:UInt64}
    AND t.trace_id GLOBAL IN (SELECT s.trace_id FROM traces AS s WHERE s.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC') AND cityHash64(s.trace_id) BETWEEN {first_hash:UInt64} AND {last_hash:UInt64})
GROUP BY t.trace_id
HAVING min((t.root.rank, t.root.start_time)).2 < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC') AND max(t.end_time) >= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC');
