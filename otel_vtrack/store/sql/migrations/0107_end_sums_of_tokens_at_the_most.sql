-- Traces as a whole, as before, but sums of tokens end at the most that is told of, query.tokens.MOST,
-- and do not begin anew at 2^64.

CREATE OR REPLACE VIEW whole_traces /*@ON CLUSTER '{cluster}'*/ AS
WITH
    0xFFFFFFFF AS low,
    (sum -> toUInt64(least(sum, 0x7FFFFFFFFFFFFFFF))) AS fitting,
    arraySort(groupUniqArrayArray(p.usage)) AS reported,
    -- Of each span the edge with the greatest parent, as query.tokens takes it.
    arrayReverseSort(groupUniqArrayArray(p.edges)) AS every_edge,
    arrayFilter(
        (edge, before) -> bitShiftRight(edge, 32) != bitShiftRight(before, 32),
        every_edge,
        arrayPushFront(arrayPopBack(every_edge), bitXor(every_edge[1], bitShiftLeft(1::UInt64, 32)))) AS spans_up,
    arrayMap(edge -> bitShiftRight(edge, 32), spans_up) AS ids,
    -- Where the parent is, 0 if it is missing or the span itself.
    arrayMap(
        edge -> if(bitAnd(edge, low) IN (0, bitShiftRight(edge, 32)), 0, indexOf(ids, bitAnd(edge, low))),
        spans_up) AS parents,
    arrayMap(id -> has(reported.1, id), ids) AS reporting,
    -- Where the walk up has come to, and whether it met one that reports; strides double.
    arrayFold(
        (at, stride) -> arrayMap(x -> (at[x.1].1, x.2 OR at[x.1].2), at),
        range(toUInt8(ceil(log2(length(ids) + 1))) + 1),
        arrayMap(parent -> (toUInt64(parent), reporting[parent]), parents)) AS walked,
    -- One that runs in a circle counts.
    arrayFilter(
        u -> length(reported) < 2 OR walked[indexOf(ids, u.1)].1 != 0 OR NOT walked[indexOf(ids, u.1)].2,
        reported) AS counted,
    arrayFilter(b -> has(counted.1, b.1), groupUniqArrayArray(p.billing)) AS billed
SELECT
    p.trace_id AS trace_id,
    p.experiment AS experiment,
    min(p.root) AS root,
    min(p.start_time) AS start_time,
    max(p.end_time) AS end_time,
    -- A clock that is wrong by centuries can wrap the end around to before the start.
    greatest(toUnixTimestamp64Nano(max(p.end_time)) - toUnixTimestamp64Nano(min(p.start_time)), 0) AS duration_ns,
    if(min(p.root).session_id != '', min(p.root).session_id, max(p.session_id)) AS session_id,
    if(min(p.root).user_id != '', min(p.root).user_id, max(p.user_id)) AS user_id,
    length(groupUniqArrayArray(p.edges)) AS span_count,
    length(groupUniqArrayArray(p.errors)) AS error_count,
    if(empty(reported), NULL, fitting(arraySum(u -> toUInt128(u.2), counted))) AS input_tokens,
    if(empty(reported), NULL, fitting(arraySum(u -> toUInt128(u.3), counted))) AS output_tokens,
    if(empty(reported), NULL, fitting(arraySum(u -> toUInt128(u.4), counted))) AS total_tokens,
    fitting(arraySum(b -> toUInt128(b.4), billed)) AS cache_read_input_tokens,
    fitting(arraySum(b -> toUInt128(b.5), billed)) AS cache_creation_input_tokens,
    max(p.adjusted_count) AS adjusted_count
FROM traces AS p
GROUP BY p.trace_id, p.experiment;
