-- Extract tags of traces from inserted spans: `mlflow.traceTag.<key>` of spans that may be the
-- root, and feature flags, which are attributes and events of any span.
--
-- If several spans set a tag, the earliest wins, which is the root. Few functions are used, and no
-- extra ones for rare cases, since every insert pays for their analysis.

CREATE OR REPLACE MATERIALIZED VIEW trace_tags_from_spans /*@ON CLUSTER '{cluster}'*/ TO tags_inbox AS
WITH
    -- What an event says, by name; arrays, maps and bytes are no text.
    (e -> mapFromArrays(e.attributes.key, arrayMap(v -> multiIf(
        v.value = 'string_value', v.string_value,
        v.value = 'bool_value', toString(v.bool_value),
        v.value IN ('int_value', 'double_value'), toString(v.int_value + v.double_value),
        ''), e.attributes.value))) AS said_by
SELECT
    if(is_flag, told.1, substring(told.1, 17)) AS key,
    s.trace_id AS trace_id,
    told.2 AS value,
    negate(toUnixTimestamp64Nano(s.start_time)) AS changed_at,
    s.experiment AS experiment,
    s.service_name AS service_name,
    s.version AS version,
    s.environment AS environment,
    s.deployment_id AS deployment_id
FROM spans/*@_local*/ AS s
ARRAY JOIN arrayConcat(
    arrayFilter(
        a -> match(a.1, '^(?:vtrack\\.flag\\.|mlflow\\.traceTag\\.).') AND a.3 < 5,
        arrayZip(mapKeys(s.attributes), mapValues(s.attributes), s.attribute_types)),
    arrayMap(
        m -> (
            concat('vtrack.flag.', m['feature_flag.key']),
            -- OpenFeature's hook writes values as JSON, so a text has quotes around it.
            trimBoth(arrayFirst(x -> x != '', [m['feature_flag.result.variant'], m['feature_flag.variant'], m['feature_flag.result.value']]), '"'),
            0),
        arrayMap(e -> said_by(e), arrayFilter(e -> e.name IN ('feature_flag.evaluation', 'feature_flag'), s.events)))) AS told
WHERE (startsWith(told.1, 'vtrack.flag.') AS is_flag)
    OR s.parent_span_id = toFixedString('', 8)
    OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5));
