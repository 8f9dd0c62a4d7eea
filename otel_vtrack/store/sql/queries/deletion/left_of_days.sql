-- Count the rows left from each day before a time, by table.

SELECT 'spans' AS table, toString(toDate(s.start_time)) AS day, count() AS rows
FROM spans AS s
WHERE s.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
GROUP BY day
UNION ALL
SELECT 'traces' AS table, toString(toDate(t.start_time)) AS day, count() AS rows
FROM traces AS t
WHERE t.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
GROUP BY day
UNION ALL
SELECT 'trace_roots' AS table, toString(toDate(r.start_time)) AS day, count() AS rows
FROM trace_roots AS r
WHERE r.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
GROUP BY day
UNION ALL
SELECT 'log_records' AS table, toString(toDate(l.time)) AS day, count() AS rows
FROM log_records AS l
WHERE l.time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
GROUP BY day;
