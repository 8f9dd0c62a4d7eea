-- Delete an experiment's rows.

DELETE FROM version_flags/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
