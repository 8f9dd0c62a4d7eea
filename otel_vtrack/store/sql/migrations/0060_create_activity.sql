-- Who was at work when: entry spans by version and minute, and the instances that they came from.
--
-- The timeline reads this and not a row a trace: a month of one version is 43,200 rows. Counts are
-- `uniq` states: exact up to 65,536 in a minute, an estimate within about 1 % above.

CREATE TABLE IF NOT EXISTS activity/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    minute Int64 CODEC(Delta, ZSTD(1)),  -- since 1970
    version LowCardinality(String),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    traces AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1)),
    instances AggregateFunction(uniq, String) CODEC(ZSTD(1))
)
ENGINE = /*@Replicated*/AggregatingMergeTree
ORDER BY (experiment, service_name, environment, minute, version)
SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS activity ON CLUSTER '{cluster}' AS activity_local
ENGINE = Distributed('{cluster}', currentDatabase(), activity_local, cityHash64(experiment));
*/

-- What came before there was this table, in the way of activity_from_spans.

INSERT INTO activity
SELECT
    s.experiment,
    s.service_name,
    s.environment,
    intDiv(toUnixTimestamp64Nano(s.start_time), 60000000000),
    s.version,
    min(s.start_time),
    max(s.start_time),
    uniqState(s.trace_id),
    uniqStateIf(
        if(
            s.resource_attributes['service.instance.id'] != '',
            toString(s.resource_attributes['service.instance.id']),
            concat(
                arrayFirst(n -> n != '', [s.resource_attributes['k8s.pod.name'], s.resource_attributes['container.id'], s.resource_attributes['host.name']]),
                ' ',
                s.resource_attributes['process.pid'])) AS instance,
        instance != ' ')
FROM spans AS s
WHERE s.version != ''
    AND (s.parent_span_id = toFixedString('', 8) OR if(bitTest(s.flags, 8), bitTest(s.flags, 9), s.kind IN (2, 5)))
GROUP BY 1, 2, 3, 4, 5;
