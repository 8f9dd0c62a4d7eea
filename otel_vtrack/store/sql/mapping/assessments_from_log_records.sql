-- Extract evaluations from inserted log records.

CREATE OR REPLACE MATERIALIZED VIEW assessments_from_log_records /*@ON CLUSTER '{cluster}'*/ TO evaluations_inbox AS
SELECT
    toFixedString(if(length(r.trace_id) = 16, r.trace_id, ''), 16) AS trace_id,
    toFixedString(if(length(r.span_id) = 8, r.span_id, ''), 8) AS span_id,
    r.experiment AS experiment,
    if(trace_id = toFixedString('', 16), arrayFirst(s -> s != '', arrayMap(n -> r.attributes[n], [
        'session.id', 'gen_ai.conversation.id', 'traceloop.association.properties.session_id',
        'langfuse.session.id', 'mlflow.trace.session'])), '') AS session_id,
    toUnixTimestamp64Nano(r.time) AS time_unix_nano,
    r.attributes AS attributes,
    r.attribute_types[indexOf(mapKeys(r.attributes), 'gen_ai.evaluation.score.value')] AS score_type
FROM log_records/*@_local*/ AS r
WHERE r.event_name = 'gen_ai.evaluation.result'
    -- Where senders put it before records had a field for it.
    OR (r.event_name = '' AND r.attributes['event.name'] = 'gen_ai.evaluation.result');
