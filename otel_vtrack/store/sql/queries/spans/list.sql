-- Return the spans of a trace with every field of OTLP, unordered; a retried one may occur twice.
--
-- Columns are returned as stored, for query.export to decode: a function costs more to analyse than
-- a column to read. Derived values come first, then what was sent; `rare` has what few spans have.
-- The minutes, in seconds since 1970, serve to find the spans quickly, because parts are sorted by
-- them.

SELECT
    version,
    environment,
    deployment_id,
    session_id,
    user_id,
    model,
    provider,
    cost,
    input_tokens,
    output_tokens,
    total_tokens,
    cache_read_input_tokens,
    cache_creation_input_tokens,
    span_id,
    parent_span_id,
    flags,
    kind,
    start_time,
    duration_ns,
    status_code,
    adjusted_count,
    name,
    experiment,
    git_commit,
    git_branch,
    git_dirty,
    repository_url,
    resource_attributes,
    resource_attribute_types,
    resource_schema_url,
    scope_name,
    scope_version,
    scope_schema_url,
    attributes,
    attribute_types,
    events,
    rare
FROM spans
PREWHERE trace_id = toFixedString(unhex({trace_id:String}), 16)
    AND toStartOfMinute(start_time) >= toDateTime({first_minute:UInt32}, 'UTC')
    AND toStartOfMinute(start_time) <= toDateTime({last_minute:UInt32}, 'UTC')
-- For a few rows, a second thread and plan optimization cost more than they gain.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0;
