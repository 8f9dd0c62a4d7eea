-- Return the variant of a feature flag that each trace saw, one row per trace; columns have a fixed
-- width.

SELECT
    cityHash64(g.trace_id) AS trace_hash,
    cityHash64(g.value) AS value_hash
FROM trace_tags AS g FINAL
WHERE g.key = {key:String}
    AND g.deleted = 0
    AND cityHash64(g.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
