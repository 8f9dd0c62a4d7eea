-- Delete an experiment's rows.

DELETE FROM trace_roots/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
