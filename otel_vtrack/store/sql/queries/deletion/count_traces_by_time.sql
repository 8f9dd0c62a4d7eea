-- Count the traces of an experiment whose root started before a time.

SELECT count() AS trace_count
FROM
(
    SELECT t.trace_id
    FROM traces AS t
    WHERE t.experiment = {experiment:String}
    GROUP BY t.trace_id
    HAVING min((t.root.rank, t.root.start_time)).2 < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
);
