-- With an experiment.

DELETE FROM activity/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
