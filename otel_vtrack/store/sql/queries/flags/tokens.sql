-- Return the IDs of traces that report tokens, and their numbers of tokens, in one row.
--
-- The traces are a superset of those in flags/traces, because partial rows select them.

SELECT
    groupArray(cityHash64(t.trace_id)) AS ids,
    groupArray(toFloat64(t.total_tokens)) AS tokens
FROM whole_traces AS t
WHERE cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
    AND ({experiment:String} = '' OR t.experiment = {experiment:String})
    AND t.trace_id IN
    (
        SELECT s.trace_id
        FROM traces AS s
        WHERE cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
            AND ({experiment:String} = '' OR s.experiment = {experiment:String})
            AND ({service_name:String} = '' OR s.root.service_name = {service_name:String})
            AND ({environment:String} = '' OR s.root.environment = {environment:String})
            AND (empty({versions:Array(String)}) OR has({versions:Array(String)}, s.root.version))
            AND s.root.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND s.root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND s.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
            AND s.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
    )
    AND t.total_tokens IS NOT NULL
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
