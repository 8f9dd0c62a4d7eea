-- Delete an experiment's rows.

DELETE FROM spans/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
