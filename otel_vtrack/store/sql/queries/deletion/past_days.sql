-- List the days before a given one that still have files, by table.

SELECT DISTINCT p.table AS table, p.partition AS day
FROM system.parts AS p
WHERE p.database = currentDatabase() AND p.active
    AND match(p.partition, '^[0-9]{4}-[0-9]{2}-[0-9]{2}$')
    AND p.partition < toString(toDate(fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')));
