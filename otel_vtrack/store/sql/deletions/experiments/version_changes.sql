-- With an experiment.

DELETE FROM version_changes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
