-- What is to be said of the traces of a version that began between two times? One row.
--
-- Rows of a trace are put together before they are chosen, for they are partial. Rows outside of a
-- day around the time range are not read: no trace lasts that long. Durations as logarithms of
-- nanoseconds.

SELECT
    count() AS trace_count,
    countIf(failed) AS error_count,
    uniqExactIf(session, session != '') AS session_count,
    uniqExactIf(person, person != '') AS user_count,
    ifNotFinite(avg(duration), 0) AS log_mean,
    ifNotFinite(varSampStable(duration), 0) AS log_variance
FROM
(
    SELECT
        min(t.root) AS r,
        r.status_code = 2 AS failed,
        if(r.session_id != '', r.session_id, max(t.session_id)) AS session,
        if(r.user_id != '', r.user_id, max(t.user_id)) AS person,
        log(greatest(toUnixTimestamp64Nano(max(t.end_time)) - toUnixTimestamp64Nano(min(t.start_time)), 1)) AS duration
    FROM traces AS t
    WHERE t.experiment = {experiment:String}
        AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
        AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
    GROUP BY t.trace_id
    HAVING r.rank < 2
        AND r.service_name = {service_name:String}
        AND r.environment = {environment:String}
        AND r.version = {version:String}
        AND r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
        AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
)
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
