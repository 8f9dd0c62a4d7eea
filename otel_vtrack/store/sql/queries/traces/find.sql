-- Which traces match, newest first by the start of their root, after a given one?
--
-- Rows of `traces` are partial, so what a row says need not be what the trace is. But one row
-- has the trace's root, and conditions on the root hold for that row. So: the `candidates`
-- newest rows that may be such (`bound`), then all rows of their traces, then the conditions
-- once more on the whole. What is found is complete down to the last candidate; `looked_at`
-- below `candidates` says that there are no more.

WITH
    (
        SELECT (count(), min(place))
        FROM
        (
            SELECT (c.root.start_time, c.trace_id, c.experiment) AS place
            FROM traces AS c
            WHERE ({experiment:String} = '' OR c.experiment = {experiment:String})
                AND ({service_name:String} = '' OR c.root.service_name = {service_name:String})
                AND ({version:String} = '' OR c.root.version = {version:String})
                AND ({environment:String} = '' OR c.root.environment = {environment:String})
                AND ({deployment_id:String} = '' OR c.root.deployment_id = {deployment_id:String})
                AND ({name:String} = '' OR c.root.name = {name:String})
                AND ({state:UInt8} = 0 OR {state:UInt8} = multiIf(c.root.rank = 2, 3, c.root.status_code = 2, 2, 1))
                AND c.root.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
                AND c.root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                AND c.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                AND ({after_trace_id:String} = '' OR place < (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), toFixedString(unhex({after_trace_id:String}), 16), {after_experiment:String}))
                AND ({session_id:String} = '' OR c.trace_id IN (SELECT trace_id FROM traces WHERE session_id = {session_id:String} OR root.session_id = {session_id:String}))
                AND ({user_id:String} = '' OR c.trace_id IN (SELECT trace_id FROM traces WHERE user_id = {user_id:String} OR root.user_id = {user_id:String}))
            ORDER BY place DESC
            LIMIT {candidates:UInt64}
        )
    ) AS bound
SELECT
    bound.1 AS looked_at,
    arrayMap(p -> (toUnixTimestamp64Nano(p.1), lower(hex(p.2)), p.3), arraySlice(arrayReverseSort(groupArray(at)), 1, {wanted:UInt64})) AS found
FROM
(
    SELECT
        (r.start_time, t.trace_id, t.experiment) AS at
    FROM
    (
        SELECT
            trace_id,
            experiment,
            min(root) AS r,
            toUnixTimestamp64Nano(max(end_time)) - toUnixTimestamp64Nano(min(start_time)) AS duration_ns,
            max(session_id) AS any_session_id,
            max(user_id) AS any_user_id
        FROM traces
        WHERE (cityHash64(trace_id), trace_id) IN
        (
            SELECT cityHash64(trace_id), trace_id
            FROM traces AS c
            WHERE bound.1 > 0 AND (c.root.start_time, c.trace_id, c.experiment) >= bound.2
                AND ({experiment:String} = '' OR c.experiment = {experiment:String})
                AND ({service_name:String} = '' OR c.root.service_name = {service_name:String})
                AND ({version:String} = '' OR c.root.version = {version:String})
                AND ({environment:String} = '' OR c.root.environment = {environment:String})
                AND ({deployment_id:String} = '' OR c.root.deployment_id = {deployment_id:String})
                AND ({name:String} = '' OR c.root.name = {name:String})
                AND ({state:UInt8} = 0 OR {state:UInt8} = multiIf(c.root.rank = 2, 3, c.root.status_code = 2, 2, 1))
                AND c.root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                AND c.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                AND ({after_trace_id:String} = '' OR (c.root.start_time, c.trace_id, c.experiment) < (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), toFixedString(unhex({after_trace_id:String}), 16), {after_experiment:String}))
        )
        GROUP BY trace_id, experiment
    ) AS t
    WHERE bound.1 > 0
        AND at >= bound.2
        AND ({experiment:String} = '' OR t.experiment = {experiment:String})
        AND ({service_name:String} = '' OR r.service_name = {service_name:String})
        AND ({version:String} = '' OR r.version = {version:String})
        AND ({environment:String} = '' OR r.environment = {environment:String})
        AND ({deployment_id:String} = '' OR r.deployment_id = {deployment_id:String})
        AND ({name:String} = '' OR r.name = {name:String})
        AND ({state:UInt8} = 0 OR {state:UInt8} = multiIf(r.rank = 2, 3, r.status_code = 2, 2, 1))
        AND r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
        AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
        AND ({after_trace_id:String} = '' OR at < (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), toFixedString(unhex({after_trace_id:String}), 16), {after_experiment:String}))
        AND ({session_id:String} = '' OR {session_id:String} = if(r.session_id != '', r.session_id, any_session_id))
        AND ({user_id:String} = '' OR {user_id:String} = if(r.user_id != '', r.user_id, any_user_id))
        AND greatest(duration_ns, 0) >= {min_duration_ns:Int64}
);
