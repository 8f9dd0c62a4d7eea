-- Changes of assessments are told apart by a UUID, as all other changes are, and no more by a number.
--
-- A column of a key keeps its type, so the table is made anew. At every step there is one that has
-- all rows, and all steps may run again. A number becomes the second half of a UUID, which is the
-- one by which UUIDs are in order first.

CREATE TABLE IF NOT EXISTS assessments/*@_local ON CLUSTER '{cluster}'*/
(
    trace_id FixedString(16),  -- all zero: of a session alone
    assessment_id String,
    change_time DateTime64(9, 'UTC'),
    change_id UUID,  -- all zero: telemetry made it
    operation Enum8('create' = 1, 'update' = 2, 'delete' = 3),  -- numbers as in assessments.proto
    experiment LowCardinality(String),
    session_id String,  -- if it is about a whole session, else ''
    assessment_name Nullable(String),
    -- JSON; '' where there is an error instead. The value and the error change together.
    value Nullable(String) CODEC(ZSTD(1)),
    -- Of a value that is a number, a boolean or 'yes' or 'no', as MLflow counts them. Only numbers
    -- have a size: `value_type` tells them apart.
    value_type LowCardinality(String) MATERIALIZED transform(
        substring(ifNull(value, ''), 1, 1),
        ['', '"', '[', '{', 't', 'f', 'n'],
        ['', 'string', 'list', 'struct', 'boolean', 'boolean', 'null'],
        'number'),
    number Nullable(Float64) MATERIALIZED multiIf(
        value_type = 'number', toFloat64OrNull(value),
        value IN ('true', '"yes"'), 1,
        value IN ('false', '"no"'), 0,
        NULL),
    error_code String,
    error_message String CODEC(ZSTD(1)),
    stack_trace String CODEC(ZSTD(1)),
    rationale Nullable(String) CODEC(ZSTD(1)),
    metadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    -- Never changed: only rows of creation have them.
    span_id FixedString(8),  -- all zero: of the trace as a whole
    assessment_type Enum8('' = 0, 'feedback' = 1, 'expectation' = 2),
    source_type Enum8('' = 0, 'HUMAN' = 1, 'LLM_JUDGE' = 2, 'CODE' = 3),
    source_id LowCardinality(String),
    overrides String,  -- id of one of the same trace, or ''

    INDEX assessment_ids assessment_id TYPE bloom_filter GRANULARITY 1,
    INDEX session_ids session_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (trace_id, assessment_id, change_time, change_id)
SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

CREATE TABLE IF NOT EXISTS assessments_anew/*@_local ON CLUSTER '{cluster}'*/
(
    trace_id FixedString(16),  -- all zero: of a session alone
    assessment_id String,
    change_time DateTime64(9, 'UTC'),
    change_id UUID,  -- all zero: telemetry made it
    operation Enum8('create' = 1, 'update' = 2, 'delete' = 3),  -- numbers as in assessments.proto
    experiment LowCardinality(String),
    session_id String,  -- if it is about a whole session, else ''
    assessment_name Nullable(String),
    -- JSON; '' where there is an error instead. The value and the error change together.
    value Nullable(String) CODEC(ZSTD(1)),
    -- Of a value that is a number, a boolean or 'yes' or 'no', as MLflow counts them. Only numbers
    -- have a size: `value_type` tells them apart.
    value_type LowCardinality(String) MATERIALIZED transform(
        substring(ifNull(value, ''), 1, 1),
        ['', '"', '[', '{', 't', 'f', 'n'],
        ['', 'string', 'list', 'struct', 'boolean', 'boolean', 'null'],
        'number'),
    number Nullable(Float64) MATERIALIZED multiIf(
        value_type = 'number', toFloat64OrNull(value),
        value IN ('true', '"yes"'), 1,
        value IN ('false', '"no"'), 0,
        NULL),
    error_code String,
    error_message String CODEC(ZSTD(1)),
    stack_trace String CODEC(ZSTD(1)),
    rationale Nullable(String) CODEC(ZSTD(1)),
    metadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    -- Never changed: only rows of creation have them.
    span_id FixedString(8),  -- all zero: of the trace as a whole
    assessment_type Enum8('' = 0, 'feedback' = 1, 'expectation' = 2),
    source_type Enum8('' = 0, 'HUMAN' = 1, 'LLM_JUDGE' = 2, 'CODE' = 3),
    source_id LowCardinality(String),
    overrides String,  -- id of one of the same trace, or ''

    INDEX assessment_ids assessment_id TYPE bloom_filter GRANULARITY 1,
    INDEX session_ids session_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (trace_id, assessment_id, change_time, change_id)
SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
DROP TABLE IF EXISTS assessments ON CLUSTER '{cluster}' SYNC;

CREATE TABLE assessments ON CLUSTER '{cluster}' AS assessments_local
ENGINE = Distributed('{cluster}', currentDatabase(), assessments_local, cityHash64(trace_id));

CREATE TABLE IF NOT EXISTS assessments_anew ON CLUSTER '{cluster}' AS assessments_anew_local
ENGINE = Distributed('{cluster}', currentDatabase(), assessments_anew_local, cityHash64(trace_id));
*/

INSERT INTO assessments_anew
(
    trace_id, assessment_id, change_time, change_id, operation, experiment, session_id, assessment_name, value,
    error_code, error_message, stack_trace, rationale, metadata, span_id, assessment_type, source_type, source_id,
    overrides
)
SELECT
    a.trace_id,
    a.assessment_id,
    a.change_time,
    -- Of a UUID, as it is when this runs again, the second is zero; of a number the first.
    greatest(
        toUUIDOrZero(toString(a.change_id)),
        reinterpretAsUUID(bitShiftLeft(toUInt128(toUInt64OrZero(toString(a.change_id))), 64))),
    a.operation,
    a.experiment,
    a.session_id,
    a.assessment_name,
    a.value,
    a.error_code,
    a.error_message,
    a.stack_trace,
    a.rationale,
    a.metadata,
    a.span_id,
    a.assessment_type,
    a.source_type,
    a.source_id,
    a.overrides
FROM assessments AS a
SETTINGS distributed_foreground_insert = 1;

DROP TABLE assessments/*@_local ON CLUSTER '{cluster}'*/ SYNC;

RENAME TABLE assessments_anew/*@_local*/ TO assessments/*@_local ON CLUSTER '{cluster}'*/;

/*@
DROP TABLE assessments_anew ON CLUSTER '{cluster}' SYNC;

DROP TABLE assessments ON CLUSTER '{cluster}' SYNC;

CREATE TABLE assessments ON CLUSTER '{cluster}' AS assessments_local
ENGINE = Distributed('{cluster}', currentDatabase(), assessments_local, cityHash64(trace_id));
*/

-- Assessments as they are now, as before.

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
        -- The first 62 bits of a change_id in the engine's order, in which its second half is first.
        toInt128(toUnixTimestamp64Nano(c.change_time)) * 4611686018427387904 + toInt128(bitShiftRight(reinterpretAsUInt128(c.change_id), 66)) AS moment,
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
