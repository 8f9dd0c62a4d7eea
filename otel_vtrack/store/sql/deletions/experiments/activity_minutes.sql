-- Delete an experiment's rows.

DELETE FROM activity_minutes/*@_local ON CLUSTER '{cluster}'*/
WHERE experiment = {experiment:String};
