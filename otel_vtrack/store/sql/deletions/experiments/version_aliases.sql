-- Delete an experiment's rows.

DELETE FROM version_aliases/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
