-- List some numeric attributes of the spans of two versions, from a sample of the spans.

SELECT arrayJoin(arrayMap(a -> a.1, arrayFilter(a -> a.2 IN (3, 4), arrayZip(mapKeys(s.attributes), s.attribute_types)))) AS name
FROM
(
    SELECT
        s.attributes AS attributes,
        s.attribute_types AS attribute_types
    FROM spans AS s
    WHERE s.version IN ({baseline_version:String}, {candidate_version:String})
        AND s.experiment = {experiment:String}
        AND ({service_name:String} = '' OR s.service_name = {service_name:String})
        AND ({environment:String} = '' OR s.environment = {environment:String})
        AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
        AND s.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
        AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC'))
        AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
    LIMIT 20000
) AS s
GROUP BY name
ORDER BY editDistance(lower(toString(name)), lower({name:String})), name
LIMIT 5
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
