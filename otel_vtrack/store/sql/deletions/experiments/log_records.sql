-- Delete an experiment's rows.

DELETE FROM log_records/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
