-- List the tables whose deletions of rows are not done, with the reason of the last failure.

SELECT m.table AS table, any(m.latest_fail_reason) AS reason
FROM system.mutations AS m
WHERE m.database = currentDatabase() AND NOT m.is_done AND m.command LIKE '%\_row\_exists%' AND has({tables:Array(String)}, m.table)
GROUP BY m.table;
