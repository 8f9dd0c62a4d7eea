-- From before a time, whether of a trace or of none.

DELETE FROM log_records/*@_local ON CLUSTER '{cluster}'*/
WHERE time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC');
