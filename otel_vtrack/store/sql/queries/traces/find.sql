-- Which traces match, the first in order that stand behind a place?
--
-- Rows of `traces` are partial, so what a row says need not be what the trace is. But one row
-- has the trace's root, and conditions on the root hold for that row. So: the `candidates` first
-- rows that may be such, by what holds for a row (`row`); then all rows of their traces, put
-- together; then the conditions once more on the whole. What is found is complete down to the
-- last candidate, which stands at `last_place`; `looked_at` below `candidates` says that there
-- are no more. Both marks of a condition stay as they are where everything is wanted.

WITH
    (
        SELECT (groupArray(c.id), groupArray(c.place)[-1])
        FROM
        (
            SELECT
                t.trace_id AS id,
                /*?place*/ tuple(toString(toUnixTimestamp64Nano(t.root.start_time))) /*place?*/ AS place
            FROM traces AS t
            WHERE /*?row*/ 1 /*row?*/
                AND /*?after*/ 1 /*after?*/
            ORDER BY /*?order*/ t.root.start_time DESC, t.trace_id, t.experiment /*order?*/
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
    WHERE (cityHash64(t.trace_id), t.trace_id) IN (SELECT cityHash64(each), each FROM (SELECT arrayJoin(looked.1) AS each))
        AND /*?whole*/ 1 /*whole?*/
        AND /*?after*/ 1 /*after?*/
    ORDER BY /*?order*/ t.root.start_time DESC, t.trace_id, t.experiment /*order?*/
    LIMIT {wanted:UInt64}
) AS f
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
