-- List the experiments whose display name differs from their telemetry name.

SELECT e.name AS name, e.experiment AS experiment
FROM experiments AS e
WHERE e.name != e.experiment;
