-- With traces, of each the part in its experiment; found by the time in which they happened.

DELETE FROM spans/*@_local ON CLUSTER '{cluster}'*/
WHERE start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND (experiment, trace_id) IN (SELECT d.experiment, d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID})
/*@SETTINGS allow_nondeterministic_mutations = 1*/;
