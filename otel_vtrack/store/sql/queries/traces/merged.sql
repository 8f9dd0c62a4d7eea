-- Merge the rows of very many traces into one row per trace and experiment, with the columns of
-- `traces`.
--
-- Grouping millions takes gigabytes. But after the table's own merges most traces have one row,
-- which is complete. The engine merges the others as it reads them in the table's order, which
-- takes hardly any memory. Finding out which these are takes a sixth of a second per million, so a
-- few traces are better grouped. A part of traces/wholes and charges; see traces/find for the
-- marked places, and traces/heads for `row_of_roots`.

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
    -- Before rows are merged: the condition is on the key, so it is the same for all rows of a
    -- trace.
    PREWHERE cityHash64(p.trace_id) GLOBAL IN (SELECT cityHash64(n.trace_id) AS hash FROM traces AS n GROUP BY hash HAVING count() > 1)
) AS p
WHERE /*?some*/ (p.trace_id, p.experiment) IN (SELECT t.trace_id, t.experiment FROM /*?table*/ trace_roots /*table?*/ AS t WHERE /*?row_of_roots*/ 1 /*row_of_roots?*/) /*some?*/;
