-- What are these traces, in each experiment they cross? Tags and previews: traces/root_facts.

SELECT
    lower(hex(t.trace_id)) AS trace_id,
    t.experiment AS experiment,
    multiIf(r.rank = 2, 3, r.status_code = 2, 2, 1) AS state,
    r.name AS name,
    r.service_name AS service_name,
    r.version AS version,
    r.environment AS environment,
    r.deployment_id AS deployment_id,
    lower(hex(r.span_id)) AS root_span_id,
    toUnixTimestamp64Nano(r.start_time) AS root_start_ns,
    toUnixTimestamp64Nano(started) AS request_time_ns,
    toUnixTimestamp64Nano(ended) AS end_ns,
    if(r.session_id != '', r.session_id, any_session_id) AS session_id,
    if(r.user_id != '', r.user_id, any_user_id) AS user_id,
    length(tree) AS span_count,
    error_count,
    reported,
    -- Who is whose parent matters only where more than one span reports usage.
    if(length(reported) < 2, [], tree) AS edges
FROM
(
    SELECT
        trace_id,
        experiment,
        min(root) AS r,
        min(start_time) AS started,
        max(end_time) AS ended,
        max(session_id) AS any_session_id,
        max(user_id) AS any_user_id,
        groupUniqArrayArray(edges) AS tree,
        length(groupUniqArrayArray(errors)) AS error_count,
        groupUniqArrayArray(usage) AS reported
    FROM traces
    WHERE trace_id IN (SELECT toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16))
    GROUP BY trace_id, experiment
) AS t;
