-- With an experiment.

DELETE FROM activity_minutes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
