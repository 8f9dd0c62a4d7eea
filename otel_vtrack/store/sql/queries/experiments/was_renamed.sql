-- Return one row if any experiment was ever renamed; cheaper than listing the renamed ones.

SELECT 1 AS found
FROM experiment_changes AS c
WHERE c.name IS NOT NULL
LIMIT 1;
