-- Delete an experiment's rows.

DELETE FROM activity_hours/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
