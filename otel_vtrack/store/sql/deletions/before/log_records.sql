-- Delete the rows from before a time, whether they belong to a trace or not.

DELETE FROM log_records/*@_local ON CLUSTER '{cluster}'*/
WHERE time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC');
