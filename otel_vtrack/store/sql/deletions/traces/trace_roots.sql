-- Delete the rows of the listed traces, or only those in one experiment.

DELETE FROM trace_roots/*@_local ON CLUSTER '{cluster}'*/
WHERE trace_id IN (SELECT d.trace_id FROM doomed_traces AS d WHERE d.deletion_id = {deletion_id:UUID})
    AND ({experiment:String} = '' OR experiment = {experiment:String})
/*@SETTINGS allow_nondeterministic_mutations = 1*/;
