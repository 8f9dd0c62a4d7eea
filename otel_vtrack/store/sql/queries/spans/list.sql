-- Which spans has a trace, every field of OTLP included? Earliest first, each once.
--
-- Attributes come as names, texts and kinds, aligned; the text of kinds 5 to 7 is binary and
-- comes as hex. The bounds are what finds the spans quickly: parts are sorted by minute.

WITH
    -- Kept as two arrays each: as a map of the driver a repeated name would be lost.
    ((m, kinds) -> arrayMap((text, kind) -> if(kind >= 5, hex(text), text), mapValues(m), kinds)) AS texts_of
SELECT
    hex(trace_id) AS trace_id,
    hex(span_id) AS span_id,
    if(parent_span_id = toFixedString('', 8), '', hex(parent_span_id)) AS parent_span_id,
    s.trace_state AS trace_state,
    s.flags AS flags,
    s.name AS name,
    s.kind AS kind,
    toUnixTimestamp64Nano(s.start_time) AS start_time_unix_nano,
    s.duration_ns AS duration_ns,
    s.status_code AS status_code,
    s.status_message AS status_message,
    mapKeys(s.attributes) AS attribute_names,
    texts_of(s.attributes, s.attribute_types) AS attribute_texts,
    s.attribute_types AS attribute_types,
    s.dropped_attributes_count AS dropped_attributes_count,
    arrayMap(e -> (
        e.time_unix_nano,
        e.name,
        mapKeys(e.attributes),
        texts_of(e.attributes, e.attribute_types),
        e.attribute_types,
        e.dropped_attributes_count), s.events) AS span_events,
    s.dropped_events_count AS dropped_events_count,
    arrayMap(l -> (
        hex(l.trace_id),
        hex(l.span_id),
        l.trace_state,
        mapKeys(l.attributes),
        texts_of(l.attributes, l.attribute_types),
        l.attribute_types,
        l.dropped_attributes_count,
        l.flags), s.links) AS span_links,
    s.dropped_links_count AS dropped_links_count,
    s.scope_name AS scope_name,
    s.scope_version AS scope_version,
    mapKeys(s.scope_attributes) AS scope_attribute_names,
    texts_of(s.scope_attributes, s.scope_attribute_types) AS scope_attribute_texts,
    s.scope_attribute_types AS scope_attribute_types,
    s.scope_dropped_attributes_count AS scope_dropped_attributes_count,
    s.scope_schema_url AS scope_schema_url,
    mapKeys(s.resource_attributes) AS resource_attribute_names,
    texts_of(s.resource_attributes, s.resource_attribute_types) AS resource_attribute_texts,
    s.resource_attribute_types AS resource_attribute_types,
    s.resource_dropped_attributes_count AS resource_dropped_attributes_count,
    arrayMap(ref -> hex(ref), s.resource_entity_refs) AS resource_entity_refs,
    s.resource_schema_url AS resource_schema_url
FROM spans AS s
WHERE s.trace_id = toFixedString(unhex({trace_id:String}), 16)
    AND (
        {earliest_ns:Int64} > {latest_ns:Int64}
        OR s.start_time BETWEEN fromUnixTimestamp64Nano({earliest_ns:Int64}, 'UTC')
            AND fromUnixTimestamp64Nano({latest_ns:Int64}, 'UTC'))
ORDER BY s.start_time, s.span_id
LIMIT 1 BY s.span_id;
