-- What people did to versions: one row a change, folded when read.
--
-- As in experiment_changes, rows are only added, and what a change leaves as it was is NULL.

CREATE TABLE IF NOT EXISTS version_changes/*@_local ON CLUSTER '{cluster}'*/
(
    experiment String,
    service_name String,
    version String,
    change_time DateTime64(9, 'UTC'),
    change_id UUID,
    note Nullable(String)
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (experiment, service_name, version, change_time, change_id);

/*@
CREATE TABLE IF NOT EXISTS version_changes ON CLUSTER '{cluster}' AS version_changes_local
ENGINE = Distributed('{cluster}', currentDatabase(), version_changes_local, cityHash64(experiment));
*/

-- Which version an alias stood for, and since when: of an alias's rows the last one holds.

CREATE TABLE IF NOT EXISTS version_aliases/*@_local ON CLUSTER '{cluster}'*/
(
    experiment String,
    service_name String,
    alias String,
    change_time DateTime64(9, 'UTC'),
    change_id UUID,
    version String,
    deleted Bool
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (experiment, service_name, alias, change_time, change_id);

/*@
CREATE TABLE IF NOT EXISTS version_aliases ON CLUSTER '{cluster}' AS version_aliases_local
ENGINE = Distributed('{cluster}', currentDatabase(), version_aliases_local, cityHash64(experiment));
*/
