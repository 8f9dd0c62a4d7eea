-- List the events found by the watch after a given one, latest first.

SELECT
    e.event_id AS event_id,
    toUnixTimestamp64Nano(e.event_time) AS event_time_ns,
    e.kind AS kind,
    e.experiment AS experiment,
    e.service_name AS service_name,
    e.environment AS environment,
    e.version AS version,
    e.deployment_id AS deployment_id,
    e.deployment_kind AS deployment_kind,
    toUnixTimestamp64Nano(e.deployment_start_time) AS deployment_start_time_ns,
    e.baseline_version AS baseline_version,
    e.baseline_deployment_id AS baseline_deployment_id,
    e.metric AS metric,
    e.baseline AS baseline,
    e.candidate AS candidate,
    e.difference AS difference,
    e.difference_lower AS difference_lower,
    e.difference_upper AS difference_upper,
    e.threshold AS threshold,
    e.baseline_count AS baseline_count,
    e.candidate_count AS candidate_count,
    e.routes_pooled AS routes_pooled,
    e.summary AS summary
FROM watch_events AS e FINAL
WHERE ({experiment:String} = '' OR e.experiment = {experiment:String})
    AND ({service_name:String} = '' OR e.service_name = {service_name:String})
    AND ({environment:String} = '' OR e.environment = {environment:String})
    AND ({version:String} = '' OR e.version = {version:String})
    AND event_time_ns >= {from_ns:Int64}
    AND event_time_ns <= {until_ns:Int64}
    AND ({undelivered_by:String} = '' OR (e.experiment, e.event_id) GLOBAL NOT IN (
        SELECT d.experiment, d.event_id FROM watch_deliveries AS d WHERE d.channel = {undelivered_by:String}))
    AND ({first_page:UInt8} OR (event_time_ns, e.event_id) < ({after_ns:Int64}, {after_id:String}))
ORDER BY event_time_ns DESC, e.event_id DESC
LIMIT {wanted:UInt64};
