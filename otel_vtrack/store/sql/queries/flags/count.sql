-- Estimate the number of traces to read.
--
-- Counts rows, which equal traces once they are merged: good enough to decide on a sample.

SELECT count() AS trace_count
FROM traces AS t
WHERE ({experiment:String} = '' OR t.experiment = {experiment:String})
    AND ({service_name:String} = '' OR t.root.service_name = {service_name:String})
    AND ({environment:String} = '' OR t.root.environment = {environment:String})
    AND (empty({versions:Array(String)}) OR has({versions:Array(String)}, t.root.version))
    AND t.root.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND t.root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
    AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
