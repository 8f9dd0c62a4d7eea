-- Turn evaluations from all sources into assessments. docs/assessments.md describes the rules.

CREATE OR REPLACE MATERIALIZED VIEW assessments_from_evaluations /*@ON CLUSTER '{cluster}'*/ TO assessments AS
WITH
    toFixedString('', 16) AS none,
    e.attributes AS a,
    a['gen_ai.evaluation.score.value'] AS score,
    a['gen_ai.evaluation.score.label'] AS label,
    a['gen_ai.evaluation.explanation'] AS explanation,
    a['gen_ai.evaluation.evaluator.source'] AS evaluator,
    if(startsWith(evaluator, '{'), JSONExtractString(evaluator, 'name'), evaluator) AS evaluator_name,
    trimLeft(a['vtrack.assessment.value'], ' \n\r\t') AS own,
    (text -> replaceAll(toJSONString(text), '\\/', '/')) AS quoted,
    mapUpdate(
        mapUpdate(
            -- More than one value: what lost is kept here.
            mapFilter((k, t) -> t != '' AND (
                startsWith(k, 'mlflow.')
                OR k IN ('gen_ai.response.id', 'gen_ai.evaluation.target', 'gen_ai.evaluation.evaluator.source', 'gen_ai.evaluation.evaluator.version', 'gen_ai.evaluation.identifier')
                OR (k = 'gen_ai.evaluation.score.label' AND own = '' AND score != '')
                OR (k = 'error.type' AND value != '')), a),
            JSONExtract(a['gen_ai.evaluation.metadata'], 'Map(String, String)')),
        JSONExtract(a['vtrack.assessment.metadata'], 'Map(String, String)')) AS told
SELECT
    e.trace_id AS trace_id,
    -- Of all that the event says, so that it has the same one however often and however it comes.
    if(a['vtrack.assessment.id'] != '', a['vtrack.assessment.id'], concat('a-', lower(hex(sipHash128(
        e.trace_id, span_id, e.session_id, e.time_unix_nano, mapSort(a)))))) AS assessment_id,
    fromUnixTimestamp64Nano(toInt64(e.time_unix_nano), 'UTC') AS change_time,
    toUUID('00000000-0000-0000-0000-000000000000') AS change_id,
    'create' AS operation,
    e.experiment AS experiment,
    if(e.session_id != '', e.session_id, told['mlflow.trace.session']) AS session_id,
    substringUTF8(a['gen_ai.evaluation.name'], 1, 250) AS assessment_name,
    multiIf(
        own != '', if(isValidJSON(own), own, quoted(own)),
        -- How booleans are told where there are none.
        (score, lower(label)) IN (('1', 'pass'), ('1', 'true')), 'true',
        (score, lower(label)) IN (('0', 'fail'), ('0', 'false')), 'false',
        score != '', if(e.score_type BETWEEN 2 AND 4 AND isValidJSON(score), score, quoted(score)),
        label != '', quoted(label),
        a['error.type'] != '', '',
        'null') AS value,
    if(value = '', substringUTF8(a['error.type'], 1, 250), '') AS error_code,
    if(value = '', if(a['vtrack.assessment.error_message'] != '', a['vtrack.assessment.error_message'], explanation), '') AS error_message,
    if(value = '', rightUTF8(a['vtrack.assessment.stack_trace'], 10000), '') AS stack_trace,
    if(value = '' AND a['vtrack.assessment.error_message'] = '', '', explanation) AS rationale,
    mapUpdate(told, mapFilter((k, t) -> t != '', map('mlflow.trace.session', session_id))) AS metadata,
    if(e.trace_id = none, toFixedString('', 8), e.span_id) AS span_id,
    if(a['vtrack.assessment.type'] = 'expectation', 'expectation', 'feedback') AS assessment_type,
    transform(
        upper(arrayFirst(t -> t != '', [a['vtrack.assessment.source_type'], a['gen_ai.evaluation.annotator_kind'], evaluator])),
        ['HUMAN', 'LLM', 'LLM_JUDGE', 'AI_JUDGE', 'CODE'],
        ['HUMAN', 'LLM_JUDGE', 'LLM_JUDGE', 'LLM_JUDGE', 'CODE'],
        multiIf(evaluator_name = '', '', match(evaluator_name, '(?i)llm|judge|geval'), 'LLM_JUDGE', 'CODE')) AS source_type,
    arrayFirst(t -> t != '', [a['vtrack.assessment.source_id'], evaluator_name, 'default']) AS source_id,
    a['vtrack.assessment.overrides'] AS overrides
FROM evaluations_inbox AS e
WHERE assessment_name != '' AND (e.trace_id != none OR session_id != '');
