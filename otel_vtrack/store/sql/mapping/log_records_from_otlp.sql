-- Extract log records from OTLP logs, one row per record. spans_from_otlp explains the style.

CREATE OR REPLACE MATERIALIZED VIEW log_records_from_otlp /*@ON CLUSTER '{cluster}'*/ TO log_records AS
WITH
    (v -> multiIf(
        v.value = 'string_value', v.string_value,
        v.value = 'int_value', toString(v.int_value),
        v.value = 'double_value', toString(v.double_value),
        v.value = 'bool_value', toString(v.bool_value),
        concat(v.array_value, v.kvlist_value, v.bytes_value))) AS text_of
SELECT
    -- Of everything kept, for records that differ in anything are two.
    sipHash64(
        r, scope, scope_schema_url, resource_attributes, resource_attribute_types,
        resource_dropped_attributes_count, resource_entity_refs, resource_schema_url,
        named_experiment) AS record_id,
    fromUnixTimestamp64Nano(toInt64(if(r.time_unix_nano > 0, r.time_unix_nano, r.observed_time_unix_nano)), 'UTC') AS time,
    r.time_unix_nano AS time_unix_nano,
    r.observed_time_unix_nano AS observed_time_unix_nano,
    r.severity_number AS severity_number,
    r.severity_text AS severity_text,
    r.event_name AS event_name,
    text_of(r.body) AS body,
    toUInt8(r.body.value) AS body_type,
    CAST(mapFromArrays(r.attributes.key, arrayMap(v -> text_of(v), r.attributes.value)), 'Map(LowCardinality(String), String)') AS attributes,
    CAST(r.attributes.value.value, 'Array(UInt8)') AS attribute_types,
    r.dropped_attributes_count AS dropped_attributes_count,
    r.flags AS flags,
    r.trace_id AS trace_id,
    r.span_id AS span_id,
    scope.name AS scope_name,
    scope.version AS scope_version,
    scope.attributes AS scope_attributes,
    scope.dropped_attributes_count AS scope_dropped_attributes_count,
    scope_schema_url,
    resource_attributes,
    resource_attribute_types,
    resource_dropped_attributes_count,
    resource_entity_refs,
    resource_schema_url,
    named_experiment AS experiment,
    service AS service_name
FROM
(
    SELECT
        CAST(mapFromArrays(resource.attributes.key, arrayMap(v -> text_of(v), resource.attributes.value)), 'Map(LowCardinality(String), LowCardinality(String))') AS resource_attributes,
        CAST(resource.attributes.value.value, 'Array(UInt8)') AS resource_attribute_types,
        resource.dropped_attributes_count AS resource_dropped_attributes_count,
        resource.entity_refs AS resource_entity_refs,
        schema_url AS resource_schema_url,
        resource_attributes['service.name'] AS service,
        resource_attributes['service.namespace'] AS namespace,
        multiIf(
            experiment != '', experiment,
            resource_attributes['vtrack.experiment'] != '', resource_attributes['vtrack.experiment'],
            namespace != '', concat(namespace, '/', service),
            service != '', service,
            'unknown_service') AS named_experiment,
        `scope_logs.scope`,
        `scope_logs.schema_url`,
        `scope_logs.log_records`
    FROM otlp_logs_inbox
)
ARRAY JOIN
    `scope_logs.scope` AS scope,
    `scope_logs.schema_url` AS scope_schema_url,
    `scope_logs.log_records` AS in_scope
ARRAY JOIN in_scope AS r;
