-- Return the second half of the ID of each of the newest traces and the minute in which its root
-- started, in seconds since 1970, newest first.
--
-- A trace occurs once for each row of `trace_roots`.

SELECT
    reinterpretAsUInt64(substring(trace_id, 9)) AS low,
    toUInt32(toStartOfMinute(start_time)) AS minute
FROM trace_roots
WHERE start_time >= fromUnixTimestamp64Nano({since_ns:Int64})
ORDER BY start_time DESC
LIMIT {most:UInt32}
SETTINGS max_threads = 1;
