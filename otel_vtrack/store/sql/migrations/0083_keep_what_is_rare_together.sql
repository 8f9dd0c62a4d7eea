-- What few spans have, in one column: '' for the others, which are read without these columns.
--
-- A trace is read in a few milliseconds, of which each column takes its part. The columns stay,
-- for whoever searches by one of them. In RowBinary, as query.export reads it.

ALTER TABLE spans/*@_local ON CLUSTER '{cluster}'*/ ADD COLUMN IF NOT EXISTS rare String MATERIALIZED
    if(
        (dropped_attributes_count, dropped_events_count, dropped_links_count, scope_dropped_attributes_count, resource_dropped_attributes_count) = (0, 0, 0, 0, 0)
            AND trace_state = '' AND status_message = ''
            AND empty(scope_attributes) AND empty(resource_entity_refs) AND empty(links),
        '',
        formatRowNoNewline('RowBinary',
            dropped_attributes_count, dropped_events_count, dropped_links_count, scope_dropped_attributes_count, resource_dropped_attributes_count,
            trace_state, status_message, scope_attributes, resource_entity_refs, links))
    CODEC(ZSTD(1));

/*@
ALTER TABLE spans ON CLUSTER '{cluster}' ADD COLUMN IF NOT EXISTS rare String;
*/
