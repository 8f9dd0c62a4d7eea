-- List the traces and minutes of matching spans: at most `most`, and an error if more than
-- `most_spans` spans would be read, which is known from the index before reading.
--
-- Places marked `/*?name*/` take conditions of the search language.

SELECT DISTINCT
    lower(hex(s.trace_id)) AS id,
    s.experiment AS named,
    intDiv(toUnixTimestamp64Nano(s.start_time), 60000000000) * 60000000000 AS start_ns
FROM spans AS s
WHERE /*?where*/ 1 /*where?*/
LIMIT {most:UInt64}
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, max_rows_to_read = {most_spans:UInt64}, read_overflow_mode = 'throw';
