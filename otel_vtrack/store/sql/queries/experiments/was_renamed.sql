-- Was any experiment ever renamed? Cheaper to ask than which.

SELECT 1 AS found
FROM experiment_changes AS c
WHERE c.name IS NOT NULL
LIMIT 1;
