-- With an experiment.

DELETE FROM version_aliases/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
