-- With an experiment.

DELETE FROM versions/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
