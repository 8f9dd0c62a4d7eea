-- Delete an experiment's rows.

DELETE FROM experiment_changes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
