-- With an experiment.

DELETE FROM version_sources/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
