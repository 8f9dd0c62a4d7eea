-- List the last change by users to each tag after a given one, without tags from telemetry.

SELECT
    c.key AS key,
    lower(hex(c.trace_id)) AS trace_id,
    c.value AS value,
    c.changed_at AS changed_at,
    c.deleted AS deleted
FROM trace_tags AS c FINAL
WHERE c.key >= {after_key:String}
    AND (c.key, c.trace_id) > ({after_key:String}, toFixedString(unhex({after_trace_id:String}), 16))
    AND c.changed_at > 0
ORDER BY c.key, c.trace_id
LIMIT {max_rows:UInt32};
