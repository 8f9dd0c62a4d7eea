-- Return the feature flag variants that traces saw, one row per flag and variant with the traces'
-- IDs.
--
-- If a trace has several evaluations of a flag, its tag has the earliest. Limited to the hundred
-- most frequent variants of each flag, because a flag may have any value. The traces are a superset
-- of those in flags/traces, because partial rows select them.

SELECT
    substring(toString(g.key), 13) AS flag,
    g.value AS variant,
    groupArray(g.id) AS ids
FROM
(
    SELECT
        t.key AS key,
        cityHash64(t.trace_id) AS id,
        argMax((substringUTF8(t.value, 1, 250), t.deleted), t.changed_at) AS kept,
        kept.1 AS value
    FROM trace_tags AS t
    WHERE t.key >= 'vtrack.flag.' AND t.key < 'vtrack.flag/'
        AND ({flag:String} = '' OR t.key = concat('vtrack.flag.', {flag:String}))
        AND cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
        AND t.trace_id IN
        (
            SELECT s.trace_id
            FROM traces AS s
            WHERE cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
                AND ({experiment:String} = '' OR s.experiment = {experiment:String})
                AND ({service_name:String} = '' OR s.root.service_name = {service_name:String})
                AND ({environment:String} = '' OR s.root.environment = {environment:String})
                AND (empty({versions:Array(String)}) OR has({versions:Array(String)}, s.root.version))
                AND s.root.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
                AND s.root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                AND s.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
                AND s.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
        )
    GROUP BY t.key, t.trace_id
    HAVING kept.2 = 0 AND value != ''
) AS g
GROUP BY flag, variant
ORDER BY flag, count() DESC, variant
LIMIT 100 BY flag
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
