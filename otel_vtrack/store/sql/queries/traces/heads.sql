-- Return the traces for which conditions on the root may hold: whether they do (`holds`), the start
-- and outcome of the root, and how many traces each represents.
--
-- Like `whole_traces`, but with only the required values of the root's row: the least by rank,
-- start and ID, which the engine compares faster as one number. A part of traces/count and
-- histogram; see traces/find for the marked places, of which `row_of_roots` is `row` in the column
-- names of the smaller table.

WITH
    bitShiftLeft(toUInt256(t.root.rank), 128)
        + bitShiftLeft(toUInt256(bitXor(reinterpretAsUInt64(toUnixTimestamp64Nano(t.root.start_time)), 9223372036854775808)), 64)
        + reinterpretAsUInt64(reverse(t.root.span_id)) AS place
SELECT
    t.trace_id AS trace_id,
    t.experiment AS experiment,
    argMin(/*?row*/ 1 /*row?*/, place) AS holds,
    (argMin(t.root.rank, place), argMin(t.root.start_time, place), argMin(t.root.status_code, place))::Tuple(rank UInt8, start_time DateTime64(9, 'UTC'), status_code Int32) AS root,
    max(t.adjusted_count) AS adjusted_count
FROM traces AS t
WHERE /*?some*/ t.trace_id IN (SELECT t.trace_id FROM trace_roots AS t WHERE /*?row_of_roots*/ 1 /*row_of_roots?*/) /*some?*/
GROUP BY t.trace_id, t.experiment;
