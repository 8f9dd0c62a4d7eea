-- What is found in the spans of two versions, and in how many traces of each? One row a thing,
-- and one of the kind '' that counts the traces themselves.
--
-- Of each kind, and of each attribute, the hundred most frequent: what has more values than that
-- is an identity and tells nothing.

WITH
    (m -> substringUTF8(replaceRegexpAll(m, '[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*', '#'), 1, 200)) AS without_numbers,
    sampled AS
    (
        SELECT
            s.trace_id AS trace_id,
            s.version = {candidate_version:String} AS is_candidate,
            s.name AS name,
            s.status_code AS status_code,
            s.status_message AS status_message,
            s.model AS model,
            s.events AS events,
            s.attributes AS attributes,
            s.attribute_types AS attribute_types
        FROM spans AS s
        WHERE s.version IN ({baseline_version:String}, {candidate_version:String})
            AND s.experiment = {experiment:String}
            AND ({service_name:String} = '' OR s.service_name = {service_name:String})
            AND ({environment:String} = '' OR s.environment = {environment:String})
            AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND s.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC'))
            AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
            AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
    )
SELECT
    f.fact.1 AS kind,
    f.fact.2 AS key,
    f.fact.3 AS value,
    uniqExactIf(f.trace_id, NOT f.is_candidate) AS baseline_count,
    uniqExactIf(f.trace_id, f.is_candidate) AS candidate_count,
    lower(hex(if(candidate_count = 0, min(f.trace_id), minIf(f.trace_id, f.is_candidate)))) AS example_trace_id
FROM
(
    SELECT
        s.trace_id AS trace_id,
        s.is_candidate AS is_candidate,
        arrayJoin(arrayFilter(t -> t.1 = '' OR t.3 != '', arrayConcat(
            [('', '', ''), ('SPAN_NAME', '', substringUTF8(toString(s.name), 1, 200)), ('MODEL', '', toString(s.model))],
            if(s.status_code = 2, [('ERROR_MESSAGE', '', without_numbers(s.status_message))], []),
            arrayMap(
                e -> ('EXCEPTION_TYPE', '', substringUTF8(arrayFirst(a -> a.key = 'exception.type', e.attributes).value.string_value, 1, 200)),
                arrayFilter(e -> e.name = 'exception', s.events)),
            arrayMap(
                a -> ('ATTRIBUTE', toString(a.1), substringUTF8(a.2, 1, 200)),
                arrayFilter(
                    -- No bytes, nothing that only says which version it is or who asked, and
                    -- neither models nor flags, which are kinds of their own.
                    a -> a.3 < 5 AND NOT match(a.1, '^(?:service|deployment|vcs|vtrack|git|session|user|enduser|feature_flag|mlflow\\.(?:source|trace)|mlflow\\.traceTag)\\.|^(?:app_)?version$|^gen_ai\\.(?:request|response)\\.model$'),
                    arrayZip(mapKeys(s.attributes), mapValues(s.attributes), s.attribute_types)))))) AS fact
    FROM sampled AS s
    UNION ALL
    SELECT
        g.trace_id,
        t.is_candidate,
        ('FLAG', substring(toString(g.key), 13), substringUTF8(g.value, 1, 200))
    FROM tags_of_traces AS g FINAL
    INNER JOIN (SELECT DISTINCT trace_id, is_candidate FROM sampled) AS t ON t.trace_id = g.trace_id
    WHERE startsWith(g.key, 'vtrack.flag.') AND g.deleted = 0
        AND g.trace_id IN (SELECT trace_id FROM sampled)
) AS f
GROUP BY f.fact
ORDER BY baseline_count + candidate_count DESC, kind, key, value
LIMIT 100 BY kind, key;
