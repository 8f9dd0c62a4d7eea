-- The view of 0012, many times faster: most assessments were never changed, so that only the others
-- need to be folded. The rules are the same.

CREATE OR REPLACE VIEW current_assessments /*@ON CLUSTER '{cluster}'*/ AS
SELECT
    u.assessment_id AS assessment_id,
    u.trace_key AS trace_key,
    if(trace_key = toFixedString('', 16), '', lower(hex(trace_key))) AS trace_id,
    u.span_key AS span_key,
    if(span_key = toFixedString('', 8), '', lower(hex(span_key))) AS span_id,
    u.experiment AS experiment,
    u.session_id AS session_id,
    u.assessment_name AS assessment_name,
    u.assessment_type AS assessment_type,
    u.value AS value,
    u.value_type AS value_type,
    u.number AS number,
    u.error_code AS error_code,
    u.error_message AS error_message,
    u.rationale AS rationale,
    u.metadata AS metadata,
    u.source_type AS source_type,
    u.source_id AS source_id,
    u.create_time AS create_time,
    u.last_update_time AS last_update_time,
    u.overrides AS overrides,
    (trace_key, assessment_id, session_id) GLOBAL NOT IN
    (
        SELECT o.trace_id, o.overrides, o.session_id
        FROM assessments AS o
        WHERE o.overrides NOT IN ('', o.assessment_id)
            AND (o.trace_id, o.assessment_id) GLOBAL NOT IN (SELECT d.trace_id, d.assessment_id FROM assessments AS d WHERE d.operation = 'delete')
    ) AS valid
FROM
(
    -- Never changed. One that was created more than once is what it was first.
    SELECT
        c.assessment_id AS assessment_id,
        c.trace_id AS trace_key,
        c.span_id AS span_key,
        c.experiment AS experiment,
        c.session_id AS session_id,
        ifNull(c.assessment_name, '') AS assessment_name,
        toString(c.assessment_type) AS assessment_type,
        ifNull(c.value, '') AS value,
        c.value_type AS value_type,
        c.number AS number,
        c.error_code AS error_code,
        c.error_message AS error_message,
        ifNull(c.rationale, '') AS rationale,
        CAST(c.metadata, 'Map(String, String)') AS metadata,
        toString(c.source_type) AS source_type,
        c.source_id AS source_id,
        c.change_time AS create_time,
        c.change_time AS last_update_time,
        c.overrides AS overrides
    FROM assessments AS c
    WHERE (c.trace_id, c.assessment_id) GLOBAL NOT IN (SELECT h.trace_id, h.assessment_id FROM assessments AS h WHERE h.operation != 'create')
    ORDER BY c.trace_id, c.assessment_id, c.change_time, c.change_id
    LIMIT 1 BY c.trace_id, c.assessment_id

    UNION ALL

    -- Changed: the first creation, then the last word on each field.
    WITH
        toInt128(toUnixTimestamp64Nano(c.change_time)) * 4611686018427387904 + intDiv(c.change_id, 4) AS moment,
        -- As one number, for that is what the engine compares fast: creations before all others,
        -- and the first of them last.
        if(c.operation = 'create', -moment - toInt128('85070591730234615865843651857942052864'), moment) AS place
    SELECT
        c.assessment_id AS assessment_id,
        c.trace_id AS trace_key,
        argMaxIf(c.span_id, place, c.operation = 'create') AS span_key,
        argMaxIf(c.experiment, place, c.operation = 'create') AS experiment,
        argMaxIf(c.session_id, place, c.operation = 'create') AS session_id,
        ifNull(argMaxIf(c.assessment_name, place, c.assessment_name IS NOT NULL), '') AS assessment_name,
        toString(argMaxIf(c.assessment_type, place, c.operation = 'create')) AS assessment_type,
        ifNull(argMaxIf(c.value, place, c.value IS NOT NULL), '') AS value,
        argMaxIf(c.value_type, place, c.value IS NOT NULL) AS value_type,
        -- In a tuple, for of NULLs alone argMax would take the one before.
        argMaxIf(tuple(c.number), place, c.value IS NOT NULL).1 AS number,
        argMaxIf(c.error_code, place, c.value IS NOT NULL) AS error_code,
        argMaxIf(c.error_message, place, c.value IS NOT NULL) AS error_message,
        ifNull(argMaxIf(c.rationale, place, c.rationale IS NOT NULL), '') AS rationale,
        arrayFold(
            -- Of several creations the last in this order is the first there was.
            (merged, m) -> if(m.1 < 0, m.2, mapUpdate(merged, m.2)),
            arraySort(m -> m.1, groupArray((place, CAST(c.metadata, 'Map(String, String)')))),
            CAST(map(), 'Map(String, String)')) AS metadata,
        toString(argMaxIf(c.source_type, place, c.operation = 'create')) AS source_type,
        argMaxIf(c.source_id, place, c.operation = 'create') AS source_id,
        minIf(c.change_time, c.operation = 'create') AS create_time,
        greatest(create_time, maxIf(c.change_time, c.operation != 'create')) AS last_update_time,
        argMaxIf(c.overrides, place, c.operation = 'create') AS overrides
    FROM assessments AS c
    WHERE (c.trace_id, c.assessment_id) GLOBAL IN (SELECT h.trace_id, h.assessment_id FROM assessments AS h WHERE h.operation != 'create')
    GROUP BY c.trace_id, c.assessment_id
    HAVING countIf(c.operation = 'create') > 0 AND countIf(c.operation = 'delete') = 0
) AS u;
