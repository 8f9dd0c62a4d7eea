-- Return the time bounds of the activity of versions, and its hours. NULL if there was none. The
-- hours are complete if there are fewer than 20,000. Also return whether adjusted counts differ.
--
-- Reads whole hours within the range from the hourly table, and its ends by the minute.

SELECT
    toUnixTimestamp64Nano(minOrNull(u.first_seen)) AS first_ns,
    toUnixTimestamp64Nano(maxOrNull(u.last_seen)) AS last_ns,
    groupUniqArray(20000)(u.hour) AS hours,
    min(greatest(u.adjusted_count, 1)) < max(u.adjusted_count) AS is_weighed
FROM
(
    SELECT h.first_seen AS first_seen, h.last_seen AS last_seen, h.hour AS hour, h.adjusted_count AS adjusted_count
    FROM activity_hours AS h
    WHERE ({experiment:String} = '' OR h.experiment = {experiment:String})
        AND ({service_name:String} = '' OR h.service_name = {service_name:String})
        AND ({environment:String} = '' OR h.environment = {environment:String})
        AND h.hour >= {first_hour:Int64}
        AND h.hour < {end_hour:Int64}
    UNION ALL
    SELECT m.first_seen, m.last_seen, intDiv(m.minute - positiveModulo(m.minute, 60), 60), m.adjusted_count
    FROM activity_minutes AS m
    WHERE ({experiment:String} = '' OR m.experiment = {experiment:String})
        AND ({service_name:String} = '' OR m.service_name = {service_name:String})
        AND ({environment:String} = '' OR m.environment = {environment:String})
        AND m.minute >= {first_minute:Int64}
        AND m.minute < {end_minute:Int64}
        AND (m.minute < {first_hour:Int64} * 60 OR m.minute >= {end_hour:Int64} * 60)
) AS u
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
