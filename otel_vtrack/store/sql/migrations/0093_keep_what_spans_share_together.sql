-- What a span has in common with many others, in one column, in RowBinary as query.halves reads it.
--
-- A trace is read in a few milliseconds, of which each column takes its part: together these
-- take as long as one. The columns stay, for whoever searches by one of them. The attributes of
-- the resource are not among them: a dictionary of all that thousands of processes say of
-- themselves would take longer to read than it spares.

ALTER TABLE spans/*@_local ON CLUSTER '{cluster}'*/ ADD COLUMN IF NOT EXISTS shared LowCardinality(String) MATERIALIZED
    formatRow('RowBinary',
        flags, kind, status_code, adjusted_count, length(events),
        name, experiment, resource_schema_url, scope_name, scope_version, scope_schema_url,
        attribute_types, resource_attribute_types);

/*@
ALTER TABLE spans ON CLUSTER '{cluster}' ADD COLUMN IF NOT EXISTS shared LowCardinality(String);
*/
