-- With an experiment.

DELETE FROM watch_deliveries/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
