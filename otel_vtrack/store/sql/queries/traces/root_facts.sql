-- Return what the spans of these traces report but `traces` does not keep: the source of the root's
-- code, and the trace's input and output.
--
-- The input is that of the root, else of the earliest span that has one. The output is that of the
-- root, else of the span that ended last among those that have one. In either case it is the value
-- of the first name that has one. `minute_ns` and `minute_trace_ids` are parallel arrays of where
-- the spans are in the table. For a loaded trace, query.facts derives the same in Python.

SELECT
    lower(hex(f.trace_id)) AS trace_id,
    f.experiment AS experiment,
    anyIf(f.git_commit, is_root) AS git_commit,
    anyIf(f.git_branch, is_root) AS git_branch,
    anyIf(f.git_dirty, is_root) AS git_dirty,
    anyIf(f.repository_url, is_root) AS repository_url,
    anyIf(source_name, is_root) AS source_name,
    anyIf(source_type, is_root) AS source_type,
    anyIf(pipeline_run, is_root) AS pipeline_run,
    argMinIf(asked, (NOT is_root, start_time, span_id), asked.2 != '') AS asked,
    argMaxIf(answered, (is_root, ended_ns, span_id), answered.2 != '') AS answered
FROM
(
    SELECT
        s.trace_id AS trace_id,
        s.span_id AS span_id,
        s.experiment AS experiment,
        s.start_time AS start_time,
        toUnixTimestamp64Nano(s.start_time) + s.duration_ns AS ended_ns,
        (s.trace_id, s.span_id) IN
        (
            SELECT toFixedString(unhex(id.1), 16), toFixedString(unhex(id.2), 8)
            FROM (SELECT arrayJoin(arrayZip({root_trace_ids:Array(String)}, {root_span_ids:Array(String)})) AS id)
        ) AS is_root,
        s.git_commit AS git_commit,
        s.git_branch AS git_branch,
        s.git_dirty AS git_dirty,
        s.repository_url AS repository_url,
        mapKeys(s.attributes) AS names,
        mapValues(s.attributes) AS texts,
        s.attribute_types AS kinds,
        s.resource_attributes AS r,
        arrayFirst(t -> t != '', arrayMap(n -> if(s.attributes[n] != '', s.attributes[n], r[n]), {source_names:Array(String)})) AS source_name,
        arrayFirst(t -> t != '', [s.attributes['mlflow.source.type'], r['mlflow.source.type']]) AS source_type,
        r['cicd.pipeline.run.id'] AS pipeline_run,
        arrayFirst(n -> s.attributes[n] != '', arrayPushBack(
            {asked_names:Array(String)}, arrayLast(n -> n LIKE 'gen\\_ai.prompt.%.content', names))) AS asked_name,
        arrayFirst(n -> s.attributes[n] != '', arrayPushBack(
            {answered_names:Array(String)}, arrayLast(n -> n LIKE 'gen\\_ai.completion.%.content', names))) AS answered_name,
        kinds[indexOf(names, asked_name)] AS asked_kind,
        kinds[indexOf(names, answered_name)] AS answered_kind,
        -- As hex, because kinds above 4 are not text. These cannot be truncated; text can.
        (asked_kind, hex(if(asked_kind > 4, s.attributes[asked_name], substring(s.attributes[asked_name], 1, {longest:UInt32})))) AS asked,
        (answered_kind, hex(if(answered_kind > 4, s.attributes[answered_name], substring(s.attributes[answered_name], 1, {longest:UInt32})))) AS answered
    FROM spans AS s
    WHERE (toStartOfMinute(s.start_time), s.trace_id) IN
    (
        SELECT toStartOfMinute(fromUnixTimestamp64Nano(at.1, 'UTC')), toFixedString(unhex(at.2), 16)
        FROM (SELECT arrayJoin(arrayZip({minute_ns:Array(Int64)}, {minute_trace_ids:Array(String)})) AS at)
    )
) AS f
GROUP BY f.trace_id, f.experiment;
