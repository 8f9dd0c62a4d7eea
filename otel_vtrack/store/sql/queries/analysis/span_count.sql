-- About how many spans of two versions are meant? Those that are there twice count twice.

SELECT
    countIf(s.version = {baseline_version:String}) AS baseline_count,
    countIf(s.version = {candidate_version:String}) AS candidate_count
FROM spans AS s
WHERE s.version IN ({baseline_version:String}, {candidate_version:String})
    AND s.experiment = {experiment:String}
    AND ({service_name:String} = '' OR s.service_name = {service_name:String})
    AND ({environment:String} = '' OR s.environment = {environment:String})
    AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND s.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC'))
    AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
    AND /*?which*/ 1 /*which?*/;
