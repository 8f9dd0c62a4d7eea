-- Delete an experiment's rows, and those of the listed traces that are deleted whole.

DELETE FROM assessments/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String}
    OR trace_id IN (SELECT d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID} AND d.is_whole)
/*@SETTINGS allow_nondeterministic_mutations = 1*/;
