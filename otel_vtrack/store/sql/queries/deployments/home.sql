-- Return the experiment in which a service was last seen.

SELECT h.experiment AS experiment
FROM
(
    SELECT toString(v.experiment) AS experiment, v.last_seen AS seen
    FROM versions AS v
    WHERE v.service_name = {service_name:String}
    UNION ALL
    SELECT toString(l.experiment), l.last_seen
    FROM log_sources AS l
    WHERE l.service_name = {service_name:String}
) AS h
ORDER BY h.seen DESC, h.experiment
LIMIT 1;
