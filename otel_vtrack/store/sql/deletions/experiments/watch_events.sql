-- With an experiment.

DELETE FROM watch_events/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
