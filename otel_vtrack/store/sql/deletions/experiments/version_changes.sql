-- Delete an experiment's rows.

DELETE FROM version_changes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
