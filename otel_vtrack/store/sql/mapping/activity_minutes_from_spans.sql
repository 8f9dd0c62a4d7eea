-- Aggregate inserted spans into minutes of activity: only spans that begin work in a service, by
-- the rule of traces_from_spans.
--
-- An instance is `service.instance.id`, else the pod, container or host with the process ID.

CREATE OR REPLACE MATERIALIZED VIEW activity_minutes_from_spans /*@ON CLUSTER '{cluster}'*/ TO activity_minutes AS
WITH
    s.resource_attributes AS r,
    if(
        r['service.instance.id'] != '',
        toString(r['service.instance.id']),
        concat(arrayFirst(n -> n != '', [r['k8s.pod.name'], r['container.id'], r['host.name']]), ' ', r['process.pid'])) AS instance
SELECT
    s.experiment AS experiment,
    s.service_name AS service_name,
    s.environment AS environment,
    intDiv(toUnixTimestamp64Nano(s.start_time), 60000000000) AS minute,
    s.version AS version,
    s.adjusted_count AS adjusted_count,
    min(s.start_time) AS first_seen,
    max(s.start_time) AS last_seen,
    uniqState(s.trace_id) AS traces,
    uniqStateIf(instance, instance != ' ') AS instances
FROM spans/*@_local*/ AS s
WHERE s.version != ''
    AND (s.parent_span_id = toFixedString('', 8) OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5)))
GROUP BY experiment, service_name, environment, minute, version, adjusted_count;
