-- Return whether any version ran with several commits in one place; likewise for other columns. If
-- none did, the place of a trace's root determines its commit, without reading its span.

SELECT count() > 0 AS mixed
FROM
(
    SELECT 1
    FROM version_sources AS s
    WHERE {experiment:String} = '' OR s.experiment = {experiment:String}
    GROUP BY s.experiment, s.service_name, s.version, s.environment, s.deployment_id
    HAVING min(/*?column*/ s.git_commit /*column?*/) != max(/*?column*/ s.git_commit /*column?*/)
    LIMIT 1
);
