-- Where does a page of spans end? At the last that fits into `max_rows` and `max_bytes`, though one
-- at least; none if nothing is left. The page comes after a key, as in spans_window.

SELECT
    toUInt32(p.minute) AS minute,
    lower(hex(p.trace_id)) AS trace_id,
    toUnixTimestamp64Nano(p.start_time) AS start_ns,
    lower(hex(p.span_id)) AS span_id
FROM
(
    SELECT
        r.minute AS minute,
        r.trace_id AS trace_id,
        r.start_time AS start_time,
        r.span_id AS span_id,
        sum(r.size) OVER (ORDER BY r.minute, r.trace_id, r.start_time, r.span_id ROWS UNBOUNDED PRECEDING) - r.size AS before
    FROM
    (
        SELECT
            toStartOfMinute(s.start_time) AS minute,
            s.trace_id AS trace_id,
            s.start_time AS start_time,
            s.span_id AS span_id,
            -- With ids and times, about what it takes in OTLP.
            60 + byteSize(s.name, s.status_message, s.trace_state, s.attributes, s.events, s.links) AS size
        FROM spans AS s
        WHERE toStartOfMinute(s.start_time) >= toDateTime({after_minute:UInt32}, 'UTC')
            AND toStartOfMinute(s.start_time) <= toDateTime({last_minute:UInt32}, 'UTC')
            AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND s.start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
            AND ({experiment:String} = '' OR s.experiment = {experiment:String})
            AND (
                empty({trace_ids:Array(String)})
                OR (
                    s.trace_id IN (SELECT toFixedString(unhex(arrayJoin({trace_ids:Array(String)})), 16))
                    AND concat(lower(hex(s.trace_id)), s.experiment) IN (SELECT arrayJoin({parts:Array(String)}))))
            AND (
                toStartOfMinute(s.start_time) > toDateTime({after_minute:UInt32}, 'UTC')
                OR s.trace_id > toFixedString(unhex({after_trace_id:String}), 16)
                OR (
                    s.trace_id = toFixedString(unhex({after_trace_id:String}), 16)
                    AND (s.start_time, s.span_id) > (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), toFixedString(unhex({after_span_id:String}), 8))))
        ORDER BY toStartOfMinute(s.start_time), s.trace_id, s.start_time, s.span_id
        LIMIT {max_rows:UInt32}
    ) AS r
) AS p
WHERE p.before < {max_bytes:UInt64}
ORDER BY p.minute DESC, p.trace_id DESC, p.start_time DESC, p.span_id DESC
LIMIT 1;
