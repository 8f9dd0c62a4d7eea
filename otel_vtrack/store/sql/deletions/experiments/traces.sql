-- Delete an experiment's rows.

DELETE FROM traces/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
