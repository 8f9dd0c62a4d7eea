-- With an experiment.

DELETE FROM activity_hours/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
