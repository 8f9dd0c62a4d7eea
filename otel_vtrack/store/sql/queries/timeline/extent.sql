-- Between which times did traces begin whose entry span tells a version? NULL: there are none.

SELECT
    toUnixTimestamp64Nano(minOrNull(t.start_time)) AS first_ns,
    toUnixTimestamp64Nano(maxOrNull(t.start_time)) AS last_ns
FROM trace_roots AS t
WHERE t.root.rank < 2
    AND t.root.version != ''
    AND ({experiment:String} = '' OR t.experiment = {experiment:String})
    AND ({service_name:String} = '' OR t.root.service_name = {service_name:String})
    AND ({environment:String} = '' OR t.root.environment = {environment:String})
    AND t.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND t.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
