-- What people declared of deployments: one row a change, folded when read; as experiment_changes.

CREATE TABLE IF NOT EXISTS deployment_changes/*@_local ON CLUSTER '{cluster}'*/
(
    experiment String,
    service_name String,
    environment String,
    deployment_id String,
    change_time DateTime64(9, 'UTC'),
    change_id UUID,
    created Bool,  -- whether it was declared by this change
    withdrawn Bool,  -- what was declared before counts no more
    version Nullable(String),
    status Nullable(Enum8('UNSPECIFIED' = 0, 'IN_PROGRESS' = 1, 'SUCCEEDED' = 2, 'FAILED' = 3)),
    start_time Nullable(DateTime64(9, 'UTC')),
    end_time Nullable(DateTime64(9, 'UTC')),
    description Nullable(String),
    set_tags Map(String, String),
    deleted_tags Array(String)
)
ENGINE = /*@Replicated*/ReplacingMergeTree
ORDER BY (experiment, service_name, environment, deployment_id, change_time, change_id);

/*@
CREATE TABLE IF NOT EXISTS deployment_changes ON CLUSTER '{cluster}' AS deployment_changes_local
ENGINE = Distributed('{cluster}', currentDatabase(), deployment_changes_local, cityHash64(experiment));
*/
