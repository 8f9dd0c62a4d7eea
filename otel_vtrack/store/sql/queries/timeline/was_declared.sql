-- Return one row if any deployment was declared; faster than folding an empty table.

SELECT 1 AS one
FROM deployment_changes
LIMIT 1;
