-- Find the first matching traces after a place in the order.
--
-- Rows of `trace_roots` and `traces` are partial, so the values of a row need not be those of the
-- trace. But one row has the trace's root, and conditions on the root hold for that row. So the
-- query takes the first `candidates` rows that may match, by the condition on rows (`row`), merges
-- all rows of their traces, and tests the conditions again on the whole (`whole`). The result is
-- complete up to the last candidate, whose place is `last_place`; if `looked_at` is below
-- `candidates`, there are no more. Places marked `/*?name*/` take conditions of the search
-- language, and stay as they are if everything matches.

WITH
    (
        SELECT (groupArray((c.id, c.named)), groupArray(c.place)[-1])
        FROM
        (
            SELECT
                t.trace_id AS id,
                t.experiment AS named,
                /*?row_place*/ tuple(toString(toUnixTimestamp64Nano(t.start_time))) /*row_place?*/ AS place
            FROM /*?table*/ trace_roots /*table?*/ AS t
            WHERE /*?row*/ 1 /*row?*/
                AND /*?row_after*/ 1 /*row_after?*/
            ORDER BY /*?row_order*/ t.start_time DESC, t.trace_id, t.experiment /*row_order?*/
            LIMIT {candidates:UInt64}
        ) AS c
    ) AS looked
SELECT
    length(looked.1) AS looked_at,
    looked.2 AS last_place,
    groupArray((f.id, f.named, f.root_start_ns, f.place)) AS found
FROM
(
    SELECT
        lower(hex(t.trace_id)) AS id,
        t.experiment AS named,
        toUnixTimestamp64Nano(t.root.start_time) AS root_start_ns,
        /*?place*/ tuple(toString(toUnixTimestamp64Nano(t.root.start_time))) /*place?*/ AS place
    FROM whole_traces AS t
    WHERE (cityHash64(t.trace_id), t.trace_id, t.experiment) IN (SELECT cityHash64(each.1), each.1, each.2 FROM (SELECT arrayJoin(looked.1) AS each))
        AND /*?whole*/ 1 /*whole?*/
        AND /*?after*/ 1 /*after?*/
    ORDER BY /*?order*/ t.root.start_time DESC, t.trace_id, t.experiment /*order?*/
    LIMIT {wanted:UInt64}
) AS f
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
