-- Return a measurement of the spans of two versions, one row per span; columns have a fixed width.
--
-- The parts define the spans and the value to measure. Until its rows are merged, a span may occur
-- twice. Small columns are read faster all at once than one after the other, large ones only where
-- the others match.

SELECT
    cityHash64(s.trace_id) AS trace_hash,
    reinterpretAsUInt64(s.span_id) AS span,
    if(s.version = {baseline_version:String}, 1, 2)::UInt8 AS side,
    assumeNotNull(/*?value*/ greatest(s.duration_ns, 0) / 1e6 /*value?*/) AS value,
    if(s.service_name = '', 0, cityHash64(s.service_name)) AS service,
    if(s.environment = '', 0, cityHash64(s.environment)) AS environment
FROM spans AS s
WHERE s.version IN ({baseline_version:String}, {candidate_version:String})
    AND s.experiment = {experiment:String}
    AND ({service_name:String} = '' OR s.service_name = {service_name:String})
    AND ({environment:String} = '' OR s.environment = {environment:String})
    AND s.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
    AND s.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC'))
    AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
    AND cityHash64(s.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, if(s.version = {baseline_version:String}, {baseline_one_in:UInt64}, {candidate_one_in:UInt64}))
    AND /*?own_times*/ 1 /*own_times?*/
    AND /*?which*/ 1 /*which?*/
LIMIT {most:UInt64}
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000, optimize_move_to_prewhere = /*?prewhere*/ 0 /*prewhere?*/;
