-- Return the traces and their outcomes, one row per place and version, with a numeric column for
-- each value of its traces.
--
-- The rows of a trace are partial, so they are merged before traces are selected. Rows more than a
-- day outside the time range are not read: no trace lasts that long. Sessions and users are hashes;
-- without a session it is the trace's own, without a user it is 0.

SELECT
    toString(f.experiment) AS experiment,
    toString(f.service_name) AS service_name,
    toString(f.environment) AS environment,
    toString(f.version) AS version,
    groupArray(f.id) AS ids,
    groupArray(f.start_ns) AS starts_ns,
    groupArray(f.latency) AS latencies,
    groupArray(f.failed) AS failures,
    groupArray(f.session_hash) AS sessions,
    groupArray(f.user_hash) AS users,
    groupArray(f.adjusted_count) AS adjusted_counts
FROM
(
    SELECT
        t.experiment AS experiment,
        cityHash64(t.trace_id) AS id,
        -- The least tuple is the root's, so the values after its first three fields are, too.
        min((t.root.rank, t.root.start_time, t.root.span_id, t.root.service_name, t.root.environment, t.root.version, t.root.status_code = 2, t.root.session_id, t.root.user_id)) AS r,
        r.4 AS service_name,
        r.5 AS environment,
        r.6 AS version,
        toUnixTimestamp64Nano(r.2) AS start_ns,
        greatest(toUnixTimestamp64Nano(max(t.end_time)) - toUnixTimestamp64Nano(min(t.start_time)), 0) / 1e6 AS latency,
        toUInt8(r.7) AS failed,
        if(r.8 != '', r.8, max(t.session_id)) AS session,
        if(session != '', cityHash64(session), id) AS session_hash,
        if(r.9 != '', r.9, max(t.user_id)) AS person,
        if(person != '', cityHash64(person), 0) AS user_hash,
        toFloat64(max(t.adjusted_count)) AS adjusted_count
    FROM traces AS t
    WHERE cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
        AND ({experiment:String} = '' OR t.experiment = {experiment:String})
        AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
        AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
    GROUP BY t.trace_id, t.experiment
    HAVING r.1 < 2
        AND ({service_name:String} = '' OR r.4 = {service_name:String})
        AND ({environment:String} = '' OR r.5 = {environment:String})
        AND (empty({versions:Array(String)}) OR has({versions:Array(String)}, r.6))
        AND r.2 >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
        AND r.2 <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
) AS f
GROUP BY experiment, service_name, environment, version
ORDER BY experiment, service_name, environment, version
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
