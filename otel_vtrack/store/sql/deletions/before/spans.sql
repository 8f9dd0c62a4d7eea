-- Delete the rows from before a time, except those of traces that stay.

DELETE FROM spans/*@_local ON CLUSTER '{cluster}'*/
WHERE start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND trace_id NOT IN (SELECT d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID})
/*@SETTINGS allow_nondeterministic_mutations = 1*/;
