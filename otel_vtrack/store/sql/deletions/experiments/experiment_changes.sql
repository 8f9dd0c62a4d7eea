-- With an experiment.

DELETE FROM experiment_changes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
