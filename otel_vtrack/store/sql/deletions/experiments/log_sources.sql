-- Delete an experiment's rows.

DELETE FROM log_sources/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
