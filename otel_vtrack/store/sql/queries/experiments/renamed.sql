-- Which experiments do people call other than telemetry does?

SELECT e.name AS name, e.experiment AS experiment
FROM experiments AS e
WHERE e.name != e.experiment;
