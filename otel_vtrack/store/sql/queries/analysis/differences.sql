-- Return the features found in the spans of two versions, and which of their traces have them. One
-- row per feature, with the traces as numbers: a hash of the ID, odd for the candidate.
--
-- Five kinds of rows are not features but describe the traces: '' has all of them, ROUTE those
-- whose entry span has a name, and SESSION, MINUTE and WEIGHT have a number for each: a hash of its
-- session, the minute since 1970 in which it started, and its adjusted count.
--
-- Traces are taken from some time windows, and there as a share of those that started in each
-- minute, those with the least IDs. So only the corresponding places of `spans` are read, which is
-- sorted by minute and then by ID. A trace is read for as long as the spans that started in its
-- first minute last, plus ten seconds, but at most for an hour.
--
-- Limited to the hundred most frequent values of each kind and of each attribute: one that has more
-- is an identity and reveals nothing. Nor does what occurs in one or two traces, of which there is
-- much.
--
-- NUMBER is an attribute with numeric values: each value, its trace, and how many distinct values
-- there are, counted up to 21. If these are few, each is a feature of its own. For WEIGHT, `ids`
-- has the IDs of the traces along with their numbers.

WITH
    (m -> substringUTF8(replaceRegexpAll(m, '[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*', '#'), 1, 200)) AS without_numbers,
    looked_at AS
    (
        SELECT DISTINCT toDateTime(60 * arrayJoin(arrayFlatten(arrayConcat(
            arrayMap(w -> range(w * {baseline_width:UInt32}, (w + 1) * {baseline_width:UInt32}), {baseline_windows:Array(UInt32)}),
            arrayMap(w -> range(w * {candidate_width:UInt32}, (w + 1) * {candidate_width:UInt32}), {candidate_windows:Array(UInt32)})))), 'UTC') AS minute
    ),
    began AS
    (
        SELECT
            r.trace_id AS trace_id,
            toStartOfMinute(r.start_time) AS minute,
            toString(r.root.name) AS route,
            r.root.version = {candidate_version:String} AS is_candidate
        FROM trace_roots AS r
        WHERE {by_root:Bool}
            AND r.root.rank < 2
            AND r.root.version IN ({baseline_version:String}, {candidate_version:String})
            AND r.experiment = {experiment:String}
            AND ({service_name:String} = '' OR r.root.service_name = {service_name:String})
            AND ({environment:String} = '' OR r.root.environment = {environment:String})
            AND r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND toStartOfMinute(r.start_time) IN (SELECT minute FROM looked_at)
        UNION ALL
        SELECT
            s.trace_id,
            toStartOfMinute(s.start_time),
            '',
            s.version = {candidate_version:String}
        FROM spans AS s
        WHERE NOT {by_root:Bool}
            AND s.version IN ({baseline_version:String}, {candidate_version:String})
            AND s.experiment = {experiment:String}
            AND ({service_name:String} = '' OR s.service_name = {service_name:String})
            AND ({environment:String} = '' OR s.environment = {environment:String})
            AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND s.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND toStartOfMinute(s.start_time) IN (SELECT minute FROM looked_at)
    ),
    chosen AS
    (
        SELECT
            c.traces.1 AS trace_id,
            min(c.minute) AS minute,
            max(c.traces.2) AS route,
            max(c.is_candidate) AS is_candidate
        FROM
        (
            SELECT
                b.minute AS minute,
                b.is_candidate AS is_candidate,
                arraySort(groupUniqArray((b.trace_id, b.route))) AS found,
                arrayJoin(arraySlice(found, 1, toUInt64(ceil(length(found) * if(b.is_candidate, {candidate_share:Float64}, {baseline_share:Float64}))))) AS traces
            FROM began AS b
            WHERE if(b.is_candidate,
                has({candidate_windows:Array(UInt32)}, intDiv(toUInt32(b.minute), 60 * {candidate_width:UInt32})),
                has({baseline_windows:Array(UInt32)}, intDiv(toUInt32(b.minute), 60 * {baseline_width:UInt32})))
            GROUP BY b.minute, b.is_candidate
        ) AS c
        GROUP BY trace_id
    ),
    places AS
    (
        SELECT
            -- The trace of a version that is called by others may have started the minute before.
            toDateTime(arrayJoin(range(toInt64(min(p.minute)) - if({by_root:Bool}, 0, 60), toInt64(max(p.until)) + 1, 60)), 'UTC') AS minute,
            p.trace_id AS trace_id
        FROM
        (
            SELECT
                toStartOfMinute(s.start_time) AS minute,
                toStartOfMinute(s.start_time + toIntervalSecond(least(greatest(intDiv(s.duration_ns, 1000000000), 0) + 10, 3600))) AS until,
                s.trace_id AS trace_id
            FROM spans AS s
            WHERE (toStartOfMinute(s.start_time), s.trace_id) IN (SELECT minute, trace_id FROM chosen)
        ) AS p
        GROUP BY trace_id
    ),
    sampled AS
    (
        SELECT
            s.trace_id AS trace_id,
            s.version = {candidate_version:String} AS is_candidate,
            s.name AS name,
            s.session_id AS session_id,
            s.status_code AS status_code,
            s.status_message AS status_message,
            s.model AS model,
            s.events AS events,
            s.attributes AS attributes,
            s.attribute_types AS attribute_types,
            s.adjusted_count AS adjusted_count
        FROM spans AS s
        WHERE s.version IN ({baseline_version:String}, {candidate_version:String})
            AND s.experiment = {experiment:String}
            AND ({service_name:String} = '' OR s.service_name = {service_name:String})
            AND ({environment:String} = '' OR s.environment = {environment:String})
            AND (toStartOfMinute(s.start_time), s.trace_id) IN (SELECT minute, trace_id FROM places)
        -- Until its rows are merged, a span may occur twice, but counts once in a mean.
        LIMIT 1 BY s.trace_id, s.span_id
    )
SELECT
    f.fact.1 AS kind,
    f.fact.2 AS key,
    f.fact.3 AS value,
    groupUniqArray(f.trace) AS traces,
    groupArrayIf(f.trace, kind IN ('NUMBER', 'SESSION', 'MINUTE', 'WEIGHT')) AS told_traces,
    groupArrayIf(f.fact.4, kind IN ('NUMBER', 'SESSION', 'MINUTE', 'WEIGHT')) AS numbers,
    groupArrayIf(f.id, kind = 'WEIGHT') AS ids,
    uniqUpToIf(20)(f.fact.4, kind = 'NUMBER') AS distinct_count
FROM
(
    SELECT
        bitOr(bitAnd(cityHash64(s.trace_id), 0xFFFFFFFFFFFFFFFE), toUInt64(s.is_candidate)) AS trace,
        s.trace_id AS id,
        arrayJoin(arrayFilter(t -> t.3 != '' OR t.1 IN ('', 'SESSION', 'WEIGHT', 'NUMBER'), arrayConcat(
            [
                ('', '', '', 0.),
                ('WEIGHT', '', '', toFloat64(s.adjusted_count)),
                ('SPAN_NAME', '', substringUTF8(toString(s.name), 1, 200), 0.),
                ('MODEL', '', toString(s.model), 0.)],
            if(s.session_id != '', [('SESSION', '', '', toFloat64(bitAnd(cityHash64(s.session_id), 0x1FFFFFFFFFFFFF)))], []),
            if(s.status_code = 2, [('ERROR_MESSAGE', '', without_numbers(s.status_message), 0.)], []),
            arrayMap(
                e -> ('EXCEPTION_TYPE', '', substringUTF8(arrayFirst(a -> a.key = 'exception.type', e.attributes).value.string_value, 1, 200), 0.),
                arrayFilter(e -> e.name = 'exception', s.events)),
            arrayMap(
                a -> if(
                    -- Numbers that a Float64 can tell apart.
                    a.3 IN (3, 4) AND abs(toFloat64OrZero(a.2)) < 9007199254740992,
                    ('NUMBER', toString(a.1), '', toFloat64OrZero(a.2)),
                    ('ATTRIBUTE', toString(a.1), substringUTF8(a.2, 1, 200), 0.)),
                arrayFilter(
                    -- No bytes, nothing that only identifies the version or the user, and neither
                    -- models nor flags, which are kinds of their own.
                    a -> a.3 < 5 AND NOT match(a.1, '^(?:service|deployment|vcs|vtrack|git|session|user|enduser|feature_flag|mlflow\\.(?:source|trace)|mlflow\\.traceTag)\\.|^(?:app_)?version$|^gen_ai\\.(?:request|response)\\.model$'),
                    arrayZip(mapKeys(s.attributes), mapValues(s.attributes), s.attribute_types)))))) AS fact
    FROM sampled AS s
    UNION ALL
    -- A trace's values are listed for both versions, as it is not known here which of them it has.
    SELECT
        bitOr(bitAnd(cityHash64(c.trace_id), 0xFFFFFFFFFFFFFFFE), toUInt64(arrayJoin([0, 1]))),
        c.trace_id,
        arrayJoin([('MINUTE', '', '', intDiv(toUInt32(c.minute), 60)::Float64), ('ROUTE', '', c.route, 0.)])
    FROM chosen AS c
    UNION ALL
    SELECT
        bitOr(bitAnd(cityHash64(g.trace_id), 0xFFFFFFFFFFFFFFFE), toUInt64(arrayJoin([0, 1]))),
        g.trace_id,
        ('FLAG', substring(toString(g.key), 13), substringUTF8(g.value, 1, 200), 0.)
    FROM tags_of_traces AS g FINAL
    WHERE startsWith(g.key, 'vtrack.flag.') AND g.deleted = 0
        AND g.trace_id IN (SELECT trace_id FROM chosen)
) AS f
GROUP BY kind, key, value
HAVING length(traces) > 2 OR kind IN ('', 'SESSION', 'MINUTE', 'ROUTE', 'WEIGHT')
ORDER BY length(traces) DESC, kind, key, value
LIMIT 100 BY kind, key, if(kind = 'ROUTE', value, '')
-- Not in blocks of a few hundred spans, the default here because attributes are large.
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, preferred_block_size_bytes = 16000000;
