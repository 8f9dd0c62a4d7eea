-- Which traces a deletion under way takes, of each the part in one experiment: so that what goes
-- does not change while it goes, table by table.

CREATE TABLE IF NOT EXISTS doomed_traces/*@_local ON CLUSTER '{cluster}'*/
(
    deletion_id UUID,
    experiment LowCardinality(String),  -- '': there is no span of it
    trace_id FixedString(16),
    is_whole Bool,  -- whether no part of it is left in another experiment
    start_time DateTime64(9, 'UTC'),
    end_time DateTime64(9, 'UTC'),
    doomed_at DateTime DEFAULT now()
)
ENGINE = /*@Replicated*/MergeTree
ORDER BY (deletion_id, trace_id)
-- Those of a deletion that was broken off.
TTL doomed_at + INTERVAL 1 DAY;

/*@
CREATE TABLE IF NOT EXISTS doomed_traces ON CLUSTER '{cluster}' AS doomed_traces_local
ENGINE = Distributed('{cluster}', currentDatabase(), doomed_traces_local, cityHash64(trace_id));
*/
