-- Delete an experiment's rows.

DELETE FROM version_sources/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
