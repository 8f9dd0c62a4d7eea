-- Return the traces of two versions that have one row in the table, as nearly all do once their
-- rows are merged: their version, properties and duration.
--
-- For a trace with more rows, each that may be its root's is returned as if it were the only one:
-- analysis/partial_traces lists these traces, and analysis/whole_traces has their values. With
-- `any_version` the root may be anywhere. Columns have a fixed width, so that the bytes of the
-- result are an array: texts are hashes, 0 for none, which analysis/levels resolves.
--
-- By its defaults the engine would read blocks of a few thousand rows, on one thread.

SELECT
    t.trace_id,
    t.trace_hash,
    t.rank,
    t.side,
    t.failed,
    t.start_ns,
    t.duration_ns / 1e6 AS ms,
    t.cluster,
    t.route,
    t.service,
    t.environment,
    t.model,
    t.user,
    t.adjusted_count
FROM
(
    SELECT
        cityHash64(t.trace_id) AS trace_hash,
        t.root.rank AS rank,
        if(t.root.version = {baseline_version:String}, 1, 2)::UInt8 AS side,
        t.root.status_code = 2 AS failed,
        toUnixTimestamp64Nano(t.root.start_time) AS start_ns,
        -- Traces of one session are not independent; one without a session is a cluster of its own.
        multiIf(t.root.session_id != '', cityHash64(t.root.session_id), t.session_id != '', cityHash64(t.session_id), trace_hash) AS cluster,
        if(t.root.name = '', 0, cityHash64(t.root.name)) AS route,
        if(t.root.service_name = '', 0, cityHash64(t.root.service_name)) AS service,
        if(t.root.environment = '', 0, cityHash64(t.root.environment)) AS environment,
        if(empty(arrayFilter(m -> m != '', t.billing.model)), 0, cityHash64(arrayStringConcat(arrayFilter(m -> m != '', arrayCompact(arraySort(t.billing.model))), ', '))) AS model,
        multiIf(t.root.user_id != '', cityHash64(t.root.user_id), t.user_id != '', cityHash64(t.user_id), 0) AS user,
        -- The columns of whole_traces that a condition may use, except for sums of tokens.
        t.trace_id AS trace_id,
        t.experiment AS experiment,
        t.root AS root,
        t.start_time AS start_time,
        t.end_time AS end_time,
        greatest(toUnixTimestamp64Nano(t.end_time) - toUnixTimestamp64Nano(t.start_time), 0) AS duration_ns,
        if(t.root.session_id != '', t.root.session_id, t.session_id) AS session_id,
        if(t.root.user_id != '', t.root.user_id, t.user_id) AS user_id,
        length(t.edges) AS span_count,
        length(t.errors) AS error_count,
        t.adjusted_count AS adjusted_count
    FROM traces AS t
    WHERE cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, least({baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
        AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
        AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
        AND t.experiment = {experiment:String}
        AND t.root.version IN ({baseline_version:String}, {candidate_version:String})
        AND cityHash64(t.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, if(t.root.version = {baseline_version:String}, {baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
        AND ({any_version:UInt8} OR (
            ({service_name:String} = '' OR t.root.service_name = {service_name:String})
            AND ({environment:String} = '' OR t.root.environment = {environment:String})
            AND t.root.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND t.root.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
            AND /*?own_times*/ 1 /*own_times?*/))
        AND /*?row*/ 1 /*row?*/
) AS t
WHERE /*?whole*/ 1 /*whole?*/
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, preferred_block_size_bytes = 16000000, merge_tree_min_rows_for_concurrent_read = 40000, merge_tree_min_bytes_for_concurrent_read = 1000000;
