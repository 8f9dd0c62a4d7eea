-- With an experiment.

DELETE FROM version_flags/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
