-- What people did to experiments: one row a change, folded when read.
--
-- Rows are only added, so writers do not have to know of each other. What a change leaves as it
-- was is NULL, or not in the maps. Changes fold by (change_time, change_id). Replacing, because
-- an insert may be retried.

CREATE TABLE IF NOT EXISTS experiment_changes/*@_local ON CLUSTER '{cluster}'*/
(
    experiment String,
    change_time DateTime64(9, 'UTC'),
    change_id UUID,
    created Bool,  -- whether it was created by this change, ahead of its telemetry
    name Nullable(String),
    archived Nullable(Bool),
    set_tags Map(String, String),
    deleted_tags Array(String)
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (experiment, change_time, change_id);

/*@
CREATE TABLE IF NOT EXISTS experiment_changes ON CLUSTER '{cluster}' AS experiment_changes_local
ENGINE = Distributed('{cluster}', currentDatabase(), experiment_changes_local, cityHash64(experiment));
*/
