-- With an experiment.

DELETE FROM trace_roots/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
