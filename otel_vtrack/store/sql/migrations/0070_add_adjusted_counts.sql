-- How many traces does a stored one stand for? 1 where nothing was sampled.
--
-- OpenTelemetry's word for it is the adjusted count (Trace SDK, "Probability sampling"): the
-- reciprocal of the probability with which a trace was kept. All spans of a trace have the same.

ALTER TABLE otlp_traces_inbox /*@ON CLUSTER '{cluster}'*/ ADD COLUMN IF NOT EXISTS adjusted_count Float32;

ALTER TABLE spans/*@_local ON CLUSTER '{cluster}'*/ ADD COLUMN IF NOT EXISTS adjusted_count Float32 DEFAULT 1;

/*@
ALTER TABLE spans ON CLUSTER '{cluster}' ADD COLUMN IF NOT EXISTS adjusted_count Float32 DEFAULT 1;
*/

-- The greatest: one that says nothing of it counts as 1.

ALTER TABLE traces/*@_local ON CLUSTER '{cluster}'*/ ADD COLUMN IF NOT EXISTS adjusted_count SimpleAggregateFunction(max, Float32) DEFAULT 1;

/*@
ALTER TABLE traces ON CLUSTER '{cluster}' ADD COLUMN IF NOT EXISTS adjusted_count SimpleAggregateFunction(max, Float32) DEFAULT 1;
*/
