-- Extract tags of traces from inserted log records: evaluations of feature flags.
--
-- These correspond to the span events in trace_tags_from_spans; the time is the record's.

CREATE OR REPLACE MATERIALIZED VIEW trace_tags_from_log_records /*@ON CLUSTER '{cluster}'*/ TO tags_inbox AS
SELECT
    concat('vtrack.flag.', l.attributes['feature_flag.key']) AS key,
    toFixedString(l.trace_id, 16) AS trace_id,
    arrayFirst(x -> x != '', [
        l.attributes['feature_flag.result.variant'],
        l.attributes['feature_flag.variant'],
        trimBoth(l.attributes['feature_flag.result.value'], '"'),
        -- Up to 1.27 the value is in the body, a map, hence bytes: a text or a truth.
        extract(l.body, '(?s)\n\x05value\x12.\n.([^\n]+)'),
        transform(extract(l.body, '(?s)\n\x05value\x12\x02\x10(.)'), ['\0', '\x01'], ['false', 'true'], '')]) AS value,
    negate(toUnixTimestamp64Nano(l.time)) AS changed_at,
    l.experiment AS experiment,
    l.service_name AS service_name,
    -- By the names that come first in the chains of spans_from_otlp; other ones stay unknown.
    l.resource_attributes['service.version'] AS version,
    l.resource_attributes['deployment.environment.name'] AS environment,
    l.resource_attributes['deployment.id'] AS deployment_id
FROM log_records/*@_local*/ AS l
WHERE l.event_name IN ('feature_flag.evaluation', 'feature_flag')
    AND length(l.trace_id) = 16;
