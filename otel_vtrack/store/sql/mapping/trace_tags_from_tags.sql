-- Store the tags of traces from all kinds of telemetry.

CREATE OR REPLACE MATERIALIZED VIEW trace_tags_from_tags /*@ON CLUSTER '{cluster}'*/ TO trace_tags AS
SELECT
    t.key AS key,
    t.trace_id AS trace_id,
    substringUTF8(argMax(t.value, t.changed_at), 1, 4096) AS value,
    max(t.changed_at) AS changed_at
FROM tags_inbox AS t
WHERE t.value != '' AND lengthUTF8(t.key) <= 250
GROUP BY t.key, t.trace_id;
