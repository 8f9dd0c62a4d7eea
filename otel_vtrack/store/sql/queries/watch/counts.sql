-- Count the traces of two sides that started in each period, given the periods' starts. Periods are
-- numbered from 1; the last one ends at `until_ns`.

SELECT
    r.root.version = {candidate_version:String}
        AND ({candidate_deployment_id:String} = '' OR r.root.deployment_id = {candidate_deployment_id:String})
        AND r.start_time >= fromUnixTimestamp64Nano({start_ns:Int64}, 'UTC') AS of_candidate,
    toUInt32(arrayCount(since -> since <= toUnixTimestamp64Nano(r.start_time), {since_ns:Array(Int64)})) AS period,
    uniq(r.trace_id) AS trace_count
FROM trace_roots AS r
WHERE r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND r.experiment = {experiment:String}
    AND r.root.rank < 2
    AND r.root.service_name = {service_name:String}
    AND r.root.environment = {environment:String}
    AND (of_candidate
        OR (r.root.version = {baseline_version:String} AND ({baseline_deployment_id:String} = '' OR r.root.deployment_id = {baseline_deployment_id:String})))
GROUP BY of_candidate, period
SETTINGS max_execution_time = 20, max_threads = 1;
