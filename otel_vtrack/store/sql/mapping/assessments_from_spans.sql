-- Evaluations out of spans as they are written: out of their events and, by OpenInference's names,
-- out of their attributes. Few spans have any, so they are looked for by name first.
--
-- What is found has a prefix, as in `evaluations.0.evaluation.name`; it leaves here by the
-- names of the GenAI conventions.

CREATE OR REPLACE MATERIALIZED VIEW assessments_from_spans /*@ON CLUSTER '{cluster}'*/ TO evaluations_inbox AS
WITH
    (name -> match(name, '(evaluation|annotation)\\.name$')) AS begins_one,
    (v -> multiIf(
        v.value = 'string_value', v.string_value,
        v.value = 'int_value', toString(v.int_value),
        v.value = 'double_value', toString(v.double_value),
        v.value = 'bool_value', toString(v.bool_value),
        '')) AS text_of,
    substring(f.begin, 1, length(f.begin) - 4) AS prefix,
    -- Of a span's own attributes those of this evaluation; of an event's all.
    arrayFilter(p -> startsWith(p.1, prefix) OR f.source.5, arrayZip(f.source.2, f.source.3, f.source.4)) AS told
SELECT
    f.target.1 AS trace_id,
    if(startsWith(f.begin, 'trace.') OR startsWith(f.begin, 'session.'), toFixedString('', 8), f.target.2) AS span_id,
    f.experiment AS experiment,
    if(startsWith(f.begin, 'session.'), f.session_id, '') AS session_id,
    f.source.1 AS time_unix_nano,
    mapFromArrays(
        arrayMap(p -> if(startsWith(p.1, prefix), concat('gen_ai.evaluation.', transform(substring(p.1, length(prefix) + 1), ['score', 'label'], ['score.value', 'score.label'])), p.1), told),
        told.2) AS attributes,
    told.3[indexOf(mapKeys(attributes), 'gen_ai.evaluation.score.value')] AS score_type
FROM
(
    SELECT
        s.experiment AS experiment,
        s.session_id AS session_id,
        -- A carrier: what it says is about the span to which its one link points. A link is the
        -- bytes of its message: two tags and lengths, each before an id.
        if(
            s.attributes['openinference.span.kind'] = 'EVALUATOR' AND length(s.links) = 1 AND match(s.links[1], '(?s)^\n\x10.{16}\x12\x08.{8}'),
            (toFixedString(substring(s.links[1], 3, 16), 16), toFixedString(substring(s.links[1], 21, 8), 8)),
            (s.trace_id, s.span_id)) AS target,
        arrayJoin(arrayPushBack(
            arrayMap(e -> (
                e.time_unix_nano, e.attributes.key, arrayMap(v -> text_of(v), e.attributes.value),
                CAST(e.attributes.value.value, 'Array(UInt8)'), true), s.events),
            (
                toUInt64(toUnixTimestamp64Nano(s.start_time) + greatest(s.duration_ns, 0)), mapKeys(s.attributes), mapValues(s.attributes),
                s.attribute_types, false))) AS source,
        arrayJoin(arrayFilter(n -> begins_one(n), source.2)) AS begin
    FROM spans/*@_local*/ AS s
    WHERE arrayExists(n -> begins_one(n), mapKeys(s.attributes))
        OR arrayExists(names -> arrayExists(n -> begins_one(n), names), s.events.attributes.key)
) AS f;
