-- When did a trace happen, and how many spans has it? Its spans are found by these bounds.

SELECT
    min(earliest) AS earliest_ns,
    max(latest) AS latest_ns,
    sum(span_count) AS span_count
FROM
(
    SELECT
        toUnixTimestamp64Nano(min(start_time)) AS earliest,
        toUnixTimestamp64Nano(max(end_time)) AS latest,
        length(groupUniqArrayArray(edges)) AS span_count
    FROM traces
    WHERE cityHash64(trace_id) = cityHash64(toFixedString(unhex({trace_id:String}), 16))
        AND trace_id = toFixedString(unhex({trace_id:String}), 16)
    GROUP BY experiment
);
