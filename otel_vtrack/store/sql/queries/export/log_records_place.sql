-- Where does a page of log records end? At the last that fits into `max_rows` and `max_bytes`, though
-- one at least; none if nothing is left. The page comes after a key, as in log_records_window.

SELECT
    p.event_name AS event_name,
    toUInt32(p.minute) AS minute,
    p.record_id AS record_id
FROM
(
    SELECT
        k.event_name AS event_name,
        k.minute AS minute,
        k.record_id AS record_id,
        sum(k.size) OVER (ORDER BY k.event_name, k.minute, k.record_id ROWS UNBOUNDED PRECEDING) - k.size AS before
    FROM
    (
        SELECT
            toString(r.event_name) AS event_name,
            toStartOfMinute(r.time) AS minute,
            r.record_id AS record_id,
            -- With ids and times, about what it takes in OTLP.
            60 + byteSize(r.body, r.severity_text, r.attributes) AS size
        FROM log_records AS r
        WHERE r.event_name >= {after_event_name:String}
            AND r.event_name <= {last_event_name:String}
            AND r.time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND r.time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
            AND ({experiment:String} = '' OR r.experiment = {experiment:String})
            AND (empty({trace_ids:Array(String)}) OR r.trace_id IN (SELECT unhex(arrayJoin({trace_ids:Array(String)}))))
            AND (
                r.event_name > {after_event_name:String}
                OR toStartOfMinute(r.time) > toDateTime({after_minute:UInt32}, 'UTC')
                OR (toStartOfMinute(r.time) = toDateTime({after_minute:UInt32}, 'UTC') AND r.record_id > {after_record_id:UInt64}))
            AND (
                r.event_name < {last_event_name:String}
                OR toStartOfMinute(r.time) <= toDateTime({last_minute:UInt32}, 'UTC'))
        ORDER BY r.event_name, toStartOfMinute(r.time), r.record_id
        LIMIT {max_rows:UInt32}
    ) AS k
) AS p
WHERE p.before < {max_bytes:UInt64}
ORDER BY p.event_name DESC, p.minute DESC, p.record_id DESC
LIMIT 1;
