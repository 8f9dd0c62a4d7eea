-- In how many traces did a version fail? Traces in which a span of it ended with an error.

ALTER TABLE versions/*@_local ON CLUSTER '{cluster}'*/
    ADD COLUMN IF NOT EXISTS error_traces AggregateFunction(uniq, FixedString(16)) AFTER traces;

/*@
ALTER TABLE versions ON CLUSTER '{cluster}'
    ADD COLUMN IF NOT EXISTS error_traces AggregateFunction(uniq, FixedString(16)) AFTER traces;
*/
