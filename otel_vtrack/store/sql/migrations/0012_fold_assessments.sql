-- Assessments as they are now: without what was deleted, and with the last word on each field.
--
-- The first creation counts, then updates in their order; a creation comes before any update,
-- whatever the clock of the app said that sent it. What was deleted stays so, however often
-- its event arrives. One is valid while none that is not deleted overrides it, of the same trace
-- and, if it is about a session, of the same session. query.assessments folds in the same way.

CREATE OR REPLACE VIEW current_assessments /*@ON CLUSTER '{cluster}'*/ AS
WITH
    (
        c.operation != 'create',
        if(c.operation = 'create', -1, 1) * toUnixTimestamp64Nano(c.change_time),
        c.change_id) AS place
SELECT
    c.assessment_id AS assessment_id,
    c.trace_id AS trace_key,
    if(trace_key = toFixedString('', 16), '', lower(hex(trace_key))) AS trace_id,
    argMaxIf(c.span_id, place, c.operation = 'create') AS span_key,
    if(span_key = toFixedString('', 8), '', lower(hex(span_key))) AS span_id,
    argMaxIf(c.experiment, place, c.operation = 'create') AS experiment,
    argMaxIf(c.session_id, place, c.operation = 'create') AS session_id,
    argMaxIf(c.assessment_name, place, c.assessment_name IS NOT NULL)::String AS assessment_name,
    argMaxIf(c.assessment_type, place, c.operation = 'create')::String AS assessment_type,
    argMaxIf((c.value, c.value_type, c.number, c.error_code, c.error_message, c.stack_trace), place, c.value IS NOT NULL) AS outcome,
    ifNull(outcome.1, '') AS value,
    outcome.2 AS value_type,
    outcome.3 AS number,
    outcome.4 AS error_code,
    outcome.5 AS error_message,
    outcome.6 AS stack_trace,
    argMaxIf(c.rationale, place, c.rationale IS NOT NULL)::String AS rationale,
    arrayFold(
        -- Of several creations the last in this order is the first there was.
        (merged, m) -> if(m.1.1, mapUpdate(merged, m.2), m.2),
        arraySort(m -> m.1, groupArray((place, CAST(c.metadata, 'Map(String, String)')))),
        CAST(map(), 'Map(String, String)')) AS metadata,
    argMaxIf(c.source_type, place, c.operation = 'create')::String AS source_type,
    argMaxIf(c.source_id, place, c.operation = 'create') AS source_id,
    minIf(c.change_time, c.operation = 'create') AS create_time,
    greatest(create_time, maxIf(c.change_time, c.operation != 'create')) AS last_update_time,
    argMaxIf(c.overrides, place, c.operation = 'create') AS overrides,
    (trace_key, assessment_id, session_id) NOT IN
    (
        SELECT o.trace_id, o.overrides, o.session_id
        FROM assessments AS o
        WHERE o.overrides NOT IN ('', o.assessment_id)
            AND (o.trace_id, o.assessment_id) NOT IN (SELECT d.trace_id, d.assessment_id FROM assessments AS d WHERE d.operation = 'delete')
    ) AS valid
FROM assessments AS c
GROUP BY c.trace_id, c.assessment_id
HAVING countIf(c.operation = 'create') > 0 AND countIf(c.operation = 'delete') = 0;
