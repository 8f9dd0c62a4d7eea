-- Return the minute up to which the next `max_rows` spans extend; no row if none is left.
--
-- They come after a key: minute, trace, start, span. This query reads only the key, and spares the
-- one that reads the rest from reading the first rows of every part.

SELECT toUInt32(max(k.minute)) AS last_minute
FROM
(
    SELECT toStartOfMinute(s.start_time) AS minute
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
) AS k
HAVING count() > 0;
