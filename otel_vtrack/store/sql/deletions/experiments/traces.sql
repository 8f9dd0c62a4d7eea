-- With an experiment.

DELETE FROM traces/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
