-- Count how many of these traces exist.

SELECT uniqExact(t.trace_id) AS trace_count
FROM traces AS t
WHERE has(arrayMap(id -> cityHash64(toFixedString(unhex(id), 16)), {trace_ids:Array(String)}), cityHash64(t.trace_id))
    AND has(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)}), t.trace_id);
