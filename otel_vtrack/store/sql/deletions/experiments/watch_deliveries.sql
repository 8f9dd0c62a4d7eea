-- Delete an experiment's rows.

DELETE FROM watch_deliveries/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
