-- Delete an experiment's rows.

DELETE FROM watch_events/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
