-- List the other experiments that have this telemetry name or display name.

SELECT e.experiment AS experiment
FROM experiments AS e
WHERE e.experiment != {but:String} AND (e.name = {name:String} OR e.experiment = {name:String});
