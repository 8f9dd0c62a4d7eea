-- With traces, of each the part in its experiment.

DELETE FROM trace_roots/*@_local ON CLUSTER '{cluster}'*/
WHERE (experiment, trace_id) IN (SELECT d.experiment, d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID})
/*@SETTINGS allow_nondeterministic_mutations = 1*/;
