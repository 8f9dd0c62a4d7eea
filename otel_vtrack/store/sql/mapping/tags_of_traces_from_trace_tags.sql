-- Copy inserted tags, whether from telemetry or people, from the table by key to the one by trace.

CREATE OR REPLACE MATERIALIZED VIEW tags_of_traces_from_trace_tags /*@ON CLUSTER '{cluster}'*/ TO tags_of_traces AS
SELECT t.trace_id AS trace_id, t.key AS key, t.value AS value, t.changed_at AS changed_at, t.deleted AS deleted
FROM trace_tags/*@_local*/ AS t;
