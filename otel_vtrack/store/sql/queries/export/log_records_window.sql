-- Return the event name and minute up to which the next `max_rows` log records extend; no row if
-- none is left. They come after a key: event name, minute, record ID. See spans_window.

SELECT
    max((k.event_name, k.minute)) AS last,
    last.1 AS last_event_name,
    toUInt32(last.2) AS last_minute
FROM
(
    SELECT
        toString(r.event_name) AS event_name,
        toStartOfMinute(r.time) AS minute
    FROM log_records AS r
    WHERE r.event_name >= {after_event_name:String}
        AND r.time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
        AND r.time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
        AND ({experiment:String} = '' OR r.experiment = {experiment:String})
        AND (empty({trace_ids:Array(String)}) OR r.trace_id IN (SELECT unhex(arrayJoin({trace_ids:Array(String)}))))
        AND (
            r.event_name > {after_event_name:String}
            OR toStartOfMinute(r.time) > toDateTime({after_minute:UInt32}, 'UTC')
            OR (toStartOfMinute(r.time) = toDateTime({after_minute:UInt32}, 'UTC') AND r.record_id > {after_record_id:UInt64}))
    ORDER BY r.event_name, toStartOfMinute(r.time), r.record_id
    LIMIT {max_rows:UInt32}
) AS k
HAVING count() > 0;
