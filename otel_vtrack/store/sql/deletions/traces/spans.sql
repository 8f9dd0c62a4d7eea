-- Delete the rows of the listed traces, or only those in one experiment; found by the traces' time
-- range. A set of pairs with the experiment would take three times as long.

DELETE FROM spans/*@_local ON CLUSTER '{cluster}'*/
WHERE start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND trace_id IN (SELECT d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID})
    AND ({experiment:String} = '' OR experiment = {experiment:String})
/*@SETTINGS allow_nondeterministic_mutations = 1*/;
