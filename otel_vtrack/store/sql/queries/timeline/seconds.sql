-- Like `activity`, for buckets shorter than a minute. Covers a short time, by its entry spans,
-- which are chosen and assigned to instances as in activity_minutes_from_spans.

SELECT
    w.experiment AS experiment,
    w.service_name AS service_name,
    w.environment AS environment,
    w.version AS version,
    w.bucket_ns AS bucket_ns,
    toUInt64(round(sum((w.adjusted_count - w.next_count) * w.trace_count))) AS trace_count,
    max(w.trace_count) AS stored_count,
    uniqMerge(w.instances) AS instance_count,
    toUnixTimestamp64Nano(min(w.first_seen)) AS first_ns,
    toUnixTimestamp64Nano(max(w.last_seen)) AS last_ns
FROM
(
    SELECT
        c.*,
        uniqMerge(c.traces) OVER (
            PARTITION BY c.experiment, c.service_name, c.environment, c.version, c.bucket_ns
            ORDER BY c.adjusted_count DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS trace_count,
        leadInFrame(c.adjusted_count, 1, 0::Float64) OVER (
            PARTITION BY c.experiment, c.service_name, c.environment, c.version, c.bucket_ns
            ORDER BY c.adjusted_count DESC
            ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS next_count
    FROM
    (
        SELECT
            s.experiment AS experiment,
            s.service_name AS service_name,
            s.environment AS environment,
            s.version AS version,
            toUnixTimestamp64Nano(s.start_time) - positiveModulo(toUnixTimestamp64Nano(s.start_time), {width_ns:Int64}) AS bucket_ns,
            toFloat64(greatest(s.adjusted_count, 1)) AS adjusted_count,
            uniqState(s.trace_id) AS traces,
            uniqStateIf(
                if(
                    s.resource_attributes['service.instance.id'] != '',
                    toString(s.resource_attributes['service.instance.id']),
                    concat(
                        arrayFirst(n -> n != '', [s.resource_attributes['k8s.pod.name'], s.resource_attributes['container.id'], s.resource_attributes['host.name']]),
                        ' ',
                        s.resource_attributes['process.pid'])) AS instance,
                instance != ' ') AS instances,
            min(s.start_time) AS first_seen,
            max(s.start_time) AS last_seen
        FROM spans AS s
        WHERE s.version != ''
            AND (s.parent_span_id = toFixedString('', 8) OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5)))
            AND ({experiment:String} = '' OR s.experiment = {experiment:String})
            AND ({service_name:String} = '' OR s.service_name = {service_name:String})
            AND ({environment:String} = '' OR s.environment = {environment:String})
            AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND s.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC'))
            AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
        GROUP BY experiment, service_name, environment, version, bucket_ns, adjusted_count
    ) AS c
) AS w
GROUP BY experiment, service_name, environment, version, bucket_ns
ORDER BY experiment, service_name, environment, bucket_ns, version
LIMIT 100001
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
