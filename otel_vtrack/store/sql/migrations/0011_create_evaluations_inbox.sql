-- The door for evaluations out of telemetry, in whatever way they came: one row each. It keeps
-- nothing; assessments_from_evaluations reads from it.

CREATE TABLE IF NOT EXISTS evaluations_inbox /*@ON CLUSTER '{cluster}'*/
(
    trace_id FixedString(16),  -- all zero: none
    span_id FixedString(8),  -- all zero: none
    experiment LowCardinality(String),
    session_id String,  -- of a whole session, or where there is no trace
    time_unix_nano UInt64,
    attributes Map(String, String),
    score_type UInt8  -- as in spans.attribute_types
)
ENGINE = Null;
