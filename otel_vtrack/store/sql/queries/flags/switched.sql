-- Return the IDs of traces that saw more than one variant of a flag, in one row.
--
-- Uses each evaluation in telemetry, as in trace_tags_from_spans and trace_tags_from_log_records,
-- because a trace's tag keeps only the first. The traces are a superset of those in flags/traces.

SELECT groupArray(f.id) AS ids
FROM
(
    SELECT e.id AS id
    FROM
    (
        SELECT
            cityHash64(s.trace_id) AS id,
            mapFromArrays(event.attributes.key, arrayMap(v -> multiIf(
                v.value = 'string_value', v.string_value,
                v.value = 'bool_value', toString(v.bool_value),
                v.value IN ('int_value', 'double_value'), toString(v.int_value + v.double_value),
                ''), event.attributes.value)) AS said,
            trimBoth(arrayFirst(x -> x != '', [said['feature_flag.result.variant'], said['feature_flag.variant'], said['feature_flag.result.value']]), '"') AS variant
        FROM
        (
            SELECT p.trace_id AS trace_id, p.events AS events
            FROM spans AS p
            -- Few spans have such events, and for the others nothing else is read.
            PREWHERE hasAny(p.events.name, ['feature_flag.evaluation', 'feature_flag'])
            WHERE cityHash64(p.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
                AND ({experiment:String} = '' OR p.experiment = {experiment:String})
                AND toStartOfMinute(p.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC'))
                AND toStartOfMinute(p.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC'))
        ) AS s
        ARRAY JOIN s.events AS event
        WHERE event.name IN ('feature_flag.evaluation', 'feature_flag')
            AND said['feature_flag.key'] = {flag:String}
        UNION ALL
        SELECT
            cityHash64(toFixedString(l.trace_id, 16)) AS id,
            CAST(map(), 'Map(String, String)') AS said,
            trimBoth(arrayFirst(x -> x != '', [
                l.attributes['feature_flag.result.variant'],
                l.attributes['feature_flag.variant'],
                l.attributes['feature_flag.result.value']]), '"') AS variant
        FROM log_records AS l
        WHERE l.event_name IN ('feature_flag.evaluation', 'feature_flag')
            AND length(l.trace_id) = 16
            AND l.attributes['feature_flag.key'] = {flag:String}
            AND l.time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
            AND l.time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
    ) AS e
    WHERE e.variant != ''
    GROUP BY e.id
    HAVING uniqExact(e.variant) > 1 AND e.id <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
) AS f
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
