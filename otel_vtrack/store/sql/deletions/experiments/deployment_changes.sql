-- With an experiment.

DELETE FROM deployment_changes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
