-- Delete an experiment's rows.

DELETE FROM deployment_changes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
