-- Extract roots from inserted traces: what one insert contributes to each root.

CREATE OR REPLACE MATERIALIZED VIEW trace_roots_from_traces /*@ON CLUSTER '{cluster}'*/ TO trace_roots AS
SELECT
    t.root.start_time AS start_time,
    t.trace_id AS trace_id,
    t.experiment AS experiment,
    (t.root.rank, t.root.name, t.root.service_name, t.root.version, t.root.environment, t.root.deployment_id, t.root.status_code) AS root,
    xxHash32(root) AS said
FROM traces/*@_local*/ AS t;
