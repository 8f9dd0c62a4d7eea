-- Return the text of some values of a tag, which are given as hashes.

SELECT DISTINCT
    cityHash64(g.value) AS value_hash,
    g.value AS value
FROM trace_tags AS g
WHERE g.key = {key:String}
    AND has({value_hashes:Array(UInt64)}, value_hash)
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
