-- Was any deployment declared? One row if so; quicker than to fold none.

SELECT 1 AS one
FROM deployment_changes
LIMIT 1;
