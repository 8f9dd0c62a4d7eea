-- Estimate the number of traces that started in a short time, by adding up versions and minutes.

SELECT sum(finalizeAggregation(a.traces)) AS trace_count
FROM activity_minutes AS a
WHERE ({experiment:String} = '' OR a.experiment = {experiment:String})
    AND ({service_name:String} = '' OR a.service_name = {service_name:String})
    AND ({environment:String} = '' OR a.environment = {environment:String})
    AND a.minute >= intDiv({from_ns:Int64}, 60000000000)
    AND a.minute <= intDiv({until_ns:Int64}, 60000000000)
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
