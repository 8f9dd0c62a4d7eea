-- Count the traces of versions whose spans have different adjusted counts. One row per such
-- version, with its numbers as a whole and those of each place.
--
-- Each trace counts once, with the greatest of its adjusted counts in that version or place. For
-- each count c, that is c times the number by which the union of the states of c and more exceeds
-- the union of the states of more than c. These unions grow along the window. The part is as in
-- versions/search.

SELECT
    n.experiment AS experiment,
    n.service_name AS service_name,
    n.version AS version,
    maxIf(n.trace_count, NOT n.is_place) AS trace_count,
    maxIf(n.error_trace_count, NOT n.is_place) AS error_trace_count,
    maxIf(n.stored_count, NOT n.is_place) AS stored_count,
    groupArrayIf((n.environment, n.deployment_id, n.trace_count, n.error_trace_count), n.is_place) AS weighed_places
FROM
(
    SELECT
        u.experiment AS experiment,
        u.service_name AS service_name,
        u.version AS version,
        u.environment AS environment,
        u.deployment_id AS deployment_id,
        u.is_place AS is_place,
        toUInt64(round(sum((u.adjusted_count - u.next_count) * u.traces))) AS trace_count,
        toUInt64(round(sum((u.adjusted_count - u.next_count) * u.error_traces))) AS error_trace_count,
        max(u.traces) AS stored_count
    FROM
    (
        SELECT
            s.experiment AS experiment,
            s.service_name AS service_name,
            s.version AS version,
            s.environment AS environment,
            s.deployment_id AS deployment_id,
            s.is_place AS is_place,
            s.adjusted_count AS adjusted_count,
            leadInFrame(s.adjusted_count, 1, 0::Float64) OVER (
                PARTITION BY s.experiment, s.service_name, s.version, s.is_place, s.environment, s.deployment_id
                ORDER BY s.adjusted_count DESC
                ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS next_count,
            uniqMerge(s.traces) OVER w AS traces,
            uniqMerge(s.error_traces) OVER w AS error_traces
        FROM
        (
            SELECT
                toString(v.experiment) AS experiment,
                toString(v.service_name) AS service_name,
                toString(v.version) AS version,
                toString(v.environment) AS environment,
                toString(v.deployment_id) AS deployment_id,
                toFloat64(greatest(v.adjusted_count, 1)) AS adjusted_count,
                NOT grouping(environment) AS is_place,
                uniqMergeState(v.traces) AS traces,
                uniqMergeState(v.error_traces) AS error_traces
            FROM versions AS v
            WHERE ({experiment:String} = '' OR v.experiment = {experiment:String})
                AND ({service_name:String} = '' OR v.service_name = {service_name:String})
                AND ({any_version:UInt8} OR v.version = {version:String})
                AND /*?places*/ 1 /*places?*/
                AND (v.experiment, v.service_name, v.version) IN
                (
                    SELECT k.experiment, k.service_name, k.version
                    FROM versions AS k
                    WHERE ({experiment:String} = '' OR k.experiment = {experiment:String})
                    GROUP BY k.experiment, k.service_name, k.version
                    HAVING min(greatest(k.adjusted_count, 1)) < max(k.adjusted_count)
                )
            GROUP BY GROUPING SETS
            (
                (experiment, service_name, version, adjusted_count),
                (experiment, service_name, version, adjusted_count, environment, deployment_id)
            )
        ) AS s
        WINDOW w AS (
            PARTITION BY s.experiment, s.service_name, s.version, s.is_place, s.environment, s.deployment_id
            ORDER BY s.adjusted_count DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ) AS u
    GROUP BY u.experiment, u.service_name, u.version, u.environment, u.deployment_id, u.is_place
) AS n
GROUP BY n.experiment, n.service_name, n.version
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, max_threads = 1;
