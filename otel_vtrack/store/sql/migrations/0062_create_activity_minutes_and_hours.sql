-- Activity by the minute as before, and by the hour: counts are kept apart by how many a trace
-- stands for, as those of versions.
--
-- Hours are for timelines of weeks and months, of which a month of one version is 720 rows.

CREATE TABLE IF NOT EXISTS activity_minutes/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    minute Int64 CODEC(Delta, ZSTD(1)),  -- since 1970
    version LowCardinality(String),
    adjusted_count Float32,
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    traces AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1)),
    instances AggregateFunction(uniq, String) CODEC(ZSTD(1))
)
ENGINE = /*@Replicated*/AggregatingMergeTree
ORDER BY (experiment, service_name, environment, minute, version, adjusted_count)
SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS activity_minutes ON CLUSTER '{cluster}' AS activity_minutes_local
ENGINE = Distributed('{cluster}', currentDatabase(), activity_minutes_local, cityHash64(experiment));
*/

CREATE TABLE IF NOT EXISTS activity_hours/*@_local ON CLUSTER '{cluster}'*/
(
    experiment LowCardinality(String),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    hour Int64 CODEC(Delta, ZSTD(1)),  -- since 1970
    version LowCardinality(String),
    adjusted_count Float32,
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    traces AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1)),
    instances AggregateFunction(uniq, String) CODEC(ZSTD(1))
)
ENGINE = /*@Replicated*/AggregatingMergeTree
ORDER BY (experiment, service_name, environment, hour, version, adjusted_count)
SETTINGS index_granularity = 256, min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)';

/*@
CREATE TABLE IF NOT EXISTS activity_hours ON CLUSTER '{cluster}' AS activity_hours_local
ENGINE = Distributed('{cluster}', currentDatabase(), activity_hours_local, cityHash64(experiment));
*/

-- What came before there were these tables: nothing of it was sampled. The second says what the
-- view activity_hours_from_activity_minutes does, which may not be there yet.

INSERT INTO activity_minutes
SELECT a.experiment, a.service_name, a.environment, a.minute, a.version, 1, a.first_seen, a.last_seen, a.traces, a.instances
FROM activity AS a;

INSERT INTO activity_hours
SELECT
    a.experiment,
    a.service_name,
    a.environment,
    intDiv(a.minute - positiveModulo(a.minute, 60), 60),
    a.version,
    1,
    min(a.first_seen),
    max(a.last_seen),
    uniqMergeState(a.traces),
    uniqMergeState(a.instances)
FROM activity AS a
GROUP BY 1, 2, 3, 4, 5;

-- Nothing is written to it any more: activity_minutes_from_spans writes to the new one. Empty and not
-- gone, so that this may run again.

DROP VIEW IF EXISTS activity_from_spans /*@ON CLUSTER '{cluster}'*/ SYNC;

TRUNCATE TABLE activity/*@_local ON CLUSTER '{cluster}'*/;
