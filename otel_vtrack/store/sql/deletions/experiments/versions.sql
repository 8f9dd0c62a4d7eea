-- Delete an experiment's rows.

DELETE FROM versions/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
