-- What do all rows of a trace say together, for very many traces? One row a trace and experiment, in the
-- columns of `traces`.
--
-- To group millions takes gigabytes. But after a merge most have one row, which is the whole trace; the
-- others the engine merges as it reads them in the order of the table, which takes no memory to
-- speak of. Which they are takes a sixth of a second for a million: so few traces are
-- better grouped. A part of traces/wholes and charges; see traces/find for the places marked for
-- conditions, and traces/heads for `row_of_roots`.

SELECT *
FROM
(
    SELECT
        p.trace_id AS trace_id,
        p.experiment AS experiment,
        p.root AS root,
        p.start_time AS start_time,
        p.end_time AS end_time,
        p.session_id AS session_id,
        p.user_id AS user_id,
        p.edges AS edges,
        p.errors AS errors,
        p.usage AS usage,
        p.billing AS billing,
        p.adjusted_count AS adjusted_count
    FROM traces AS p
    WHERE cityHash64(p.trace_id) GLOBAL NOT IN (SELECT cityHash64(n.trace_id) AS hash FROM traces AS n GROUP BY hash HAVING count() > 1)
    UNION ALL
    SELECT
        p.trace_id AS trace_id,
        p.experiment AS experiment,
        p.root AS root,
        p.start_time AS start_time,
        p.end_time AS end_time,
        p.session_id AS session_id,
        p.user_id AS user_id,
        p.edges AS edges,
        p.errors AS errors,
        p.usage AS usage,
        p.billing AS billing,
        p.adjusted_count AS adjusted_count
    FROM traces AS p FINAL
    -- Before rows are merged: the key says it of all rows of a trace alike.
    PREWHERE cityHash64(p.trace_id) GLOBAL IN (SELECT cityHash64(n.trace_id) AS hash FROM traces AS n GROUP BY hash HAVING count() > 1)
) AS p
WHERE /*?some*/ (p.trace_id, p.experiment) IN (SELECT t.trace_id, t.experiment FROM /*?table*/ trace_roots /*table?*/ AS t WHERE /*?row_of_roots*/ 1 /*row_of_roots?*/) /*some?*/;
