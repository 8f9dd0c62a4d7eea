-- Which experiments but one are called so, by telemetry or by people?

SELECT e.experiment AS experiment
FROM experiments AS e
WHERE e.experiment != {but:String} AND (e.name = {name:String} OR e.experiment = {name:String});
