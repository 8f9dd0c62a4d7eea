-- With an experiment.

DELETE FROM spans/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
