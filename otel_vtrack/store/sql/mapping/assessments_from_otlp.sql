-- Extract evaluations from OTLP traces: from events of spans and, by OpenInference's names, from
-- attributes of spans.
--
-- Names found have a prefix, as in `evaluations.0.evaluation.name`; the output has the names of the
-- GenAI conventions.

CREATE OR REPLACE MATERIALIZED VIEW assessments_from_otlp /*@ON CLUSTER '{cluster}'*/ TO evaluations_inbox AS
WITH
    (v -> multiIf(
        v.value = 'string_value', v.string_value,
        v.value = 'int_value', toString(v.int_value),
        v.value = 'double_value', toString(v.double_value),
        v.value = 'bool_value', toString(v.bool_value),
        '')) AS text_of,
    (name -> match(name, '(evaluation|annotation)\\.name$')) AS begins_one,
    -- The names that say what the session is, as in spans_from_otlp.
    ['session.id', 'gen_ai.conversation.id', 'traceloop.association.properties.session_id',
        'langfuse.session.id', 'mlflow.trace.session'] AS session_names,
    substring(f.begin, 1, length(f.begin) - length('name')) AS prefix,
    -- Of a span's own attributes those of this evaluation; of an event's all.
    arrayFilter(p -> startsWith(p.1, prefix) OR f.source.5, arrayZip(f.source.2, f.source.3, f.source.4)) AS told
SELECT
    f.target.1 AS trace_id,
    if(startsWith(f.begin, 'trace.') OR startsWith(f.begin, 'session.'), toFixedString('', 8), f.target.2) AS span_id,
    f.named_experiment AS experiment,
    if(startsWith(f.begin, 'session.'), f.session, '') AS session_id,
    f.source.1 AS time_unix_nano,
    mapFromArrays(
        arrayMap(p -> if(startsWith(p.1, prefix), concat('gen_ai.evaluation.', transform(substring(p.1, length(prefix) + 1), ['score', 'label'], ['score.value', 'score.label'])), p.1), told),
        told.2) AS attributes,
    told.3[indexOf(mapKeys(attributes), 'gen_ai.evaluation.score.value')] AS score_type
FROM
(
    SELECT
        r.named_experiment AS named_experiment,
        s_attributes.key AS names,
        arrayMap(v -> text_of(v), s_attributes.value) AS texts,
        arrayFirst(t -> t != '', arrayConcat(
            arrayMap(n -> texts[indexOf(names, n)], session_names),
            arrayMap(n -> r.resource_attributes[n], session_names))) AS session,
        -- A carrier: what it says is about the span to which its one link points. A link is the
        -- bytes of its message: two tags and lengths, each before an id.
        if(
            texts[indexOf(names, 'openinference.span.kind')] = 'EVALUATOR' AND length(s_links) = 1 AND match(s_links[1], '(?s)^\n\x10.{16}\x12\x08.{8}'),
            (toFixedString(substring(s_links[1], 3, 16), 16), toFixedString(substring(s_links[1], 21, 8), 8)),
            (toFixedString(s_trace_id, 16), toFixedString(s_span_id, 8))) AS target,
        arrayJoin(arrayPushBack(
            arrayMap(e -> (
                e.time_unix_nano, e.attributes.key, arrayMap(v -> text_of(v), e.attributes.value),
                CAST(e.attributes.value.value, 'Array(UInt8)'), true), s_events),
            (
                greatest(s_start_time_unix_nano, s_end_time_unix_nano), names, texts,
                CAST(s_attributes.value.value, 'Array(UInt8)'), false))) AS source,
        arrayJoin(arrayFilter(n -> begins_one(n), source.2)) AS begin
    FROM
    (
        SELECT
            mapFromArrays(resource.attributes.key, arrayMap(v -> text_of(v), resource.attributes.value)) AS resource_attributes,
            resource_attributes['service.name'] AS service,
            resource_attributes['service.namespace'] AS namespace,
            -- As in spans_from_otlp.
            multiIf(
                experiment != '', experiment,
                resource_attributes['vtrack.experiment'] != '', resource_attributes['vtrack.experiment'],
                namespace != '', concat(namespace, '/', service),
                service != '', service,
                'unknown_service') AS named_experiment,
            `scope_spans.spans.trace_id`,
            `scope_spans.spans.span_id`,
            `scope_spans.spans.start_time_unix_nano`,
            `scope_spans.spans.end_time_unix_nano`,
            `scope_spans.spans.attributes`,
            `scope_spans.spans.events`,
            `scope_spans.spans.links`
        FROM otlp_evaluations_inbox
    ) AS r
    ARRAY JOIN
        `scope_spans.spans.trace_id` AS in_scope_trace_id,
        `scope_spans.spans.span_id` AS in_scope_span_id,
        `scope_spans.spans.start_time_unix_nano` AS in_scope_start_time_unix_nano,
        `scope_spans.spans.end_time_unix_nano` AS in_scope_end_time_unix_nano,
        `scope_spans.spans.attributes` AS in_scope_attributes,
        `scope_spans.spans.events` AS in_scope_events,
        `scope_spans.spans.links` AS in_scope_links
    ARRAY JOIN
        in_scope_trace_id AS s_trace_id,
        in_scope_span_id AS s_span_id,
        in_scope_start_time_unix_nano AS s_start_time_unix_nano,
        in_scope_end_time_unix_nano AS s_end_time_unix_nano,
        in_scope_attributes AS s_attributes,
        in_scope_events AS s_events,
        in_scope_links AS s_links
) AS f;
