-- Delete the rows of the listed traces: those in the listed experiment, and all of a trace that is
-- deleted whole.

DELETE FROM log_records/*@_local ON CLUSTER '{cluster}'*/
WHERE trace_id != '' AND (
    (experiment, toFixedString(substring(trace_id, 1, 16), 16)) IN (SELECT d.experiment, d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID})
    OR toFixedString(substring(trace_id, 1, 16), 16) IN (SELECT d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID} AND d.is_whole))
/*@SETTINGS allow_nondeterministic_mutations = 1*/;
