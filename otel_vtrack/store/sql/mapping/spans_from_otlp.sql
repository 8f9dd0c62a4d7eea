-- Extract spans from OTLP traces, one row per span.
--
-- Every insert pays for the analysis of this view before its first row: about 0.1 ms per function
-- and column, which at 4,096 spans per insert is as much as the work itself. So there are few of
-- either: arrays, links and a scope's attributes stay serialized, and one lookup by name replaces a
-- search for each fact.

CREATE OR REPLACE MATERIALIZED VIEW spans_from_otlp /*@ON CLUSTER '{cluster}'*/ TO spans AS
WITH
    (v -> multiIf(
        v.value = 'string_value', v.string_value,
        v.value = 'int_value', toString(v.int_value),
        v.value = 'double_value', toString(v.double_value),
        v.value = 'bool_value', toString(v.bool_value),
        v.value = 'array_value', v.array_value,
        v.value = 'kvlist_value', v.kvlist_value,
        v.bytes_value)) AS text_of,
    -- What an attribute's name says, as role * 16 + rank, where a lower rank wins; 0: nothing.
    -- Roles: 1 version, 2 version if nothing else says it, 3 environment, 4 deployment,
    -- 5 commit, 6 branch, 7 repository, 8 dirty, 9 session, 10 user, 11 input, 12 output and
    -- 13 total tokens, 14 experiment, 15 the counts of tokens as JSON, 16 model, 17 provider,
    -- 18 tokens read from and 19 put into a cache, 20 cost; 21 to 29 what a span is, which its
    -- resource cannot say. docs/mapping.md and docs/search.md have the same chains in words.
    -- Names are LowCardinality, so this runs once for each name in a block.
    (name -> transform(name, [
        'service.version', 'app_version', 'app.version', 'version',
        'traceloop.entity.version', 'gen_ai.agent.version', 'container.image.tags',
        'deployment.environment.name', 'deployment.environment', 'environment', 'env',
        'deployment.id', 'deployment_id', 'deployment.name', 'cicd.pipeline.run.id',
        'vcs.ref.head.revision', 'vcs.repository.ref.revision', 'git.commit.sha', 'git.commit',
        'heroku.release.commit', 'mlflow.source.git.commit',
        'vcs.ref.head.name', 'vcs.repository.ref.name', 'mlflow.source.git.branch',
        'vcs.repository.url.full', 'git.repository_url', 'mlflow.source.git.repoURL',
        'vtrack.vcs.dirty', 'mlflow.source.git.dirty',
        'session.id', 'gen_ai.conversation.id', 'traceloop.association.properties.session_id',
        'langfuse.session.id', 'mlflow.trace.session',
        'user.id', 'enduser.id', 'enduser.pseudo.id', 'user.hash', 'gen_ai.user', 'llm.user',
        'traceloop.association.properties.user_id', 'langfuse.user.id', 'mlflow.trace.user',
        'gen_ai.usage.input_tokens', 'gen_ai.usage.prompt_tokens', 'llm.token_count.prompt', 'llm.usage.prompt_tokens',
        'gen_ai.usage.output_tokens', 'gen_ai.usage.completion_tokens', 'llm.token_count.completion', 'llm.usage.completion_tokens',
        'gen_ai.usage.total_tokens', 'llm.token_count.total', 'llm.usage.total_tokens',
        'vtrack.experiment',
        'mlflow.chat.tokenUsage',
        'gen_ai.response.model', 'gen_ai.request.model', 'llm.response.model_name', 'llm.model_name',
        'llm.request.model_name', 'embedding.model_name', 'mlflow.llm.model',
        'gen_ai.provider.name', 'gen_ai.system', 'llm.provider', 'llm.system', 'mlflow.llm.provider',
        'gen_ai.usage.cache_read.input_tokens', 'gen_ai.usage.cache_read_input_tokens', 'llm.token_count.prompt_details.cache_read',
        'gen_ai.usage.cache_write.input_tokens', 'gen_ai.usage.cache_creation.input_tokens',
        'gen_ai.usage.cache_creation_input_tokens', 'llm.token_count.prompt_details.cache_write',
        'mlflow.llm.cost', 'gen_ai.usage.cost', 'llm.cost.total',
        'mlflow.spanType', 'openinference.span.kind', 'gen_ai.operation.name', 'traceloop.span.kind',
        'ai.operationId', 'lmnr.span.type', 'langfuse.observation.type', 'span.type', 'entity.type'
    ], [
        16, 17, 18, 19,
        32, 33, 34,
        48, 49, 50, 51,
        64, 65, 66, 67,
        80, 81, 82, 83,
        84, 85,
        96, 97, 98,
        112, 113, 114,
        128, 129,
        144, 145, 146,
        147, 148,
        160, 161, 162, 163, 164, 165,
        166, 167, 168,
        176, 177, 178, 179,
        192, 193, 194, 195,
        208, 209, 210,
        224,
        240,
        256, 257, 258, 259,
        260, 261, 262,
        272, 273, 274, 275, 276,
        288, 289, 290,
        304, 305,
        306, 307,
        320, 321, 322,
        336, 352, 368, 384, 400, 416, 432, 448, 464
    ]::Array(UInt16), 0::UInt16)) AS code_of,
    -- The attributes that have a role and a value, best rank first. As a map from role to text
    -- (`f` below) a lookup finds the first. An array or a map says nothing, but for an image's
    -- tags.
    ((names, texts, kinds) -> arraySort(arrayFilter(
        p -> p.1 > 0 AND p.2 != '', arrayZip(arrayMap((n, k) -> code_of(n) * (k NOT IN (5, 6) OR code_of(n) = 34), names, kinds), texts)))) AS told_by,
    -- An image's tags are an array, hence bytes: its first text follows two tags and lengths.
    extract(f[2], '(?s)^(?:\n.\n.)?([^\n]+)') AS weak_version,
    -- "ot=th:c" of a tracestate: hexadecimal digits of which zeros at the end are left out. Here
    -- of 64 bits, where OpenTelemetry's has the first 56; 0 if there is none.
    reinterpretAsUInt64(reverse(unhex(rightPad(extract(s_trace_state, '(?:^|,)[ \\t]*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})[ \\t]*(?:[;,]|$)'), 16, '0')))) AS threshold,
    JSONExtract(f[15], 'Tuple(input_tokens Nullable(UInt64), output_tokens Nullable(UInt64), total_tokens Nullable(UInt64), cache_read_input_tokens Nullable(UInt64), cache_creation_input_tokens Nullable(UInt64))') AS counted
SELECT
    toFixedString(s_trace_id, 16) AS trace_id,
    toFixedString(s_span_id, 8) AS span_id,
    toFixedString(s_parent_span_id, 8) AS parent_span_id,
    s_trace_state AS trace_state,
    s_flags AS flags,
    s_name AS name,
    s_kind AS kind,
    fromUnixTimestamp64Nano(toInt64(s_start_time_unix_nano), 'UTC') AS start_time,
    toInt64(s_end_time_unix_nano - s_start_time_unix_nano) AS duration_ns,
    s_status.code AS status_code,
    s_status.message AS status_message,
    CAST(mapFromArrays(names, texts), 'Map(LowCardinality(String), String)') AS attributes,
    kinds AS attribute_types,
    s_dropped_attributes_count AS dropped_attributes_count,
    s_events AS events,
    s_dropped_events_count AS dropped_events_count,
    s_links AS links,
    s_dropped_links_count AS dropped_links_count,
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
    service AS service_name,
    multiIf(f[1] != '', f[1], weak_version != '', weak_version, substring(f[5], 1, 12)) AS version,
    f[3] AS environment,
    f[4] AS deployment_id,
    f[5] AS git_commit,
    f[6] AS git_branch,
    f[8] AS git_dirty,
    f[7] AS repository_url,
    f[9] AS session_id,
    f[10] AS user_id,
    coalesce(toUInt64OrNull(f[11]), counted.1) AS input_tokens,
    coalesce(toUInt64OrNull(f[12]), counted.2) AS output_tokens,
    coalesce(toUInt64OrNull(f[13]), counted.3) AS total_tokens,
    coalesce(toUInt64OrNull(f[18]), counted.4) AS cache_read_input_tokens,
    coalesce(toUInt64OrNull(f[19]), counted.5) AS cache_creation_input_tokens,
    -- MLflow writes its attributes as JSON, so a text has quotes around it.
    trimBoth(f[16], '"') AS model,
    trimBoth(f[17], '"') AS provider,
    f[20] AS cost,
    -- What a span is, in MLflow's words, from whatever convention says it first, else ''.
    multiIf(
        f[21] != '', trimBoth(f[21], '"'),
        f[22] != '', upper(f[22]),
        f[23] != '', transform(f[23],
            ['chat', 'create_agent', 'invoke_agent', 'embeddings', 'execute_tool', 'generate_content', 'text_completion', 'response', 'retrieval', 'invoke_workflow'],
            ['CHAT_MODEL', 'AGENT', 'AGENT', 'EMBEDDING', 'TOOL', 'LLM', 'LLM', 'LLM', 'RETRIEVER', 'WORKFLOW'],
            ''),
        f[24] != '', upper(f[24]),
        f[25] != '', multiIf(startsWith(f[25], 'ai.embed'), 'EMBEDDING', startsWith(f[25], 'ai.toolCall'), 'TOOL', startsWith(f[25], 'ai.'), 'LLM', ''),
        f[26] NOT IN ('', 'DEFAULT'), upper(f[26]),
        f[27] NOT IN ('', 'span', 'event'), if(f[27] = 'generation', 'LLM', upper(f[27])),
        f[28] != '', upper(f[28]),
        upper(f[29])) AS type,
    -- 0 says nothing. Samplers that follow OpenTelemetry ask the same randomness of a trace, so
    -- that of two the stricter one decides: docs/sampling.md. With at most 2^32 no sum over as many
    -- traces goes beyond what is counted to.
    toFloat32(least(greatest(told_count, 1, 18446744073709551616 / (bitNot(threshold) + 1.)), 4294967296.)) AS adjusted_count
FROM
(
    -- Down to the spans.
    SELECT
        s_trace_id,
        s_span_id,
        s_parent_span_id,
        s_trace_state,
        s_flags,
        s_name,
        s_kind,
        s_start_time_unix_nano,
        s_end_time_unix_nano,
        s_dropped_attributes_count,
        s_events,
        s_dropped_events_count,
        s_links,
        s_dropped_links_count,
        s_status,
        s_attributes.key AS names,
        CAST(s_attributes.value.value, 'Array(UInt8)') AS kinds,
        arrayMap(v -> text_of(v), s_attributes.value) AS texts,
        told_by(names, texts, kinds) AS told,
        -- What the span says wins over what its resource says.
        mapUpdate(resource_facts, mapFromArrays(arrayMap(p -> intDiv(p.1, 16), told), told.2)) AS f,
        scope,
        scope_schema_url,
        resource_attributes,
        resource_attribute_types,
        resource_dropped_attributes_count,
        resource_entity_refs,
        resource_schema_url,
        told_count,
        named_experiment,
        service
    FROM
    (
        -- The resource, once for all its spans.
        SELECT
            resource.attributes.key AS rnames,
            arrayMap(v -> text_of(v), resource.attributes.value) AS rtexts,
            CAST(mapFromArrays(rnames, rtexts), 'Map(LowCardinality(String), LowCardinality(String))') AS resource_attributes,
            CAST(resource.attributes.value.value, 'Array(UInt8)') AS resource_attribute_types,
            resource.dropped_attributes_count AS resource_dropped_attributes_count,
            resource.entity_refs AS resource_entity_refs,
            schema_url AS resource_schema_url,
            adjusted_count AS told_count,
            arrayFilter(p -> p.1 < 336, told_by(rnames, rtexts, resource_attribute_types)) AS rtold,
            mapFromArrays(arrayMap(p -> intDiv(p.1, 16), rtold), rtold.2) AS resource_facts,
            rtexts[indexOf(rnames, 'service.name')] AS service,
            rtexts[indexOf(rnames, 'service.namespace')] AS namespace,
            multiIf(
                experiment != '', experiment,
                resource_facts[14] != '', resource_facts[14],
                namespace != '', concat(namespace, '/', service),
                service != '', service,
                'unknown_service') AS named_experiment,
            `scope_spans.scope`,
            `scope_spans.schema_url`,
            `scope_spans.spans.trace_id`,
            `scope_spans.spans.span_id`,
            `scope_spans.spans.parent_span_id`,
            `scope_spans.spans.trace_state`,
            `scope_spans.spans.flags`,
            `scope_spans.spans.name`,
            `scope_spans.spans.kind`,
            `scope_spans.spans.start_time_unix_nano`,
            `scope_spans.spans.end_time_unix_nano`,
            `scope_spans.spans.attributes`,
            `scope_spans.spans.dropped_attributes_count`,
            `scope_spans.spans.events`,
            `scope_spans.spans.dropped_events_count`,
            `scope_spans.spans.links`,
            `scope_spans.spans.dropped_links_count`,
            `scope_spans.spans.status`
        FROM otlp_traces_inbox
    )
    ARRAY JOIN
        `scope_spans.scope` AS scope,
        `scope_spans.schema_url` AS scope_schema_url,
        `scope_spans.spans.trace_id` AS in_scope_trace_id,
        `scope_spans.spans.span_id` AS in_scope_span_id,
        `scope_spans.spans.parent_span_id` AS in_scope_parent_span_id,
        `scope_spans.spans.trace_state` AS in_scope_trace_state,
        `scope_spans.spans.flags` AS in_scope_flags,
        `scope_spans.spans.name` AS in_scope_name,
        `scope_spans.spans.kind` AS in_scope_kind,
        `scope_spans.spans.start_time_unix_nano` AS in_scope_start_time_unix_nano,
        `scope_spans.spans.end_time_unix_nano` AS in_scope_end_time_unix_nano,
        `scope_spans.spans.attributes` AS in_scope_attributes,
        `scope_spans.spans.dropped_attributes_count` AS in_scope_dropped_attributes_count,
        `scope_spans.spans.events` AS in_scope_events,
        `scope_spans.spans.dropped_events_count` AS in_scope_dropped_events_count,
        `scope_spans.spans.links` AS in_scope_links,
        `scope_spans.spans.dropped_links_count` AS in_scope_dropped_links_count,
        `scope_spans.spans.status` AS in_scope_status
    ARRAY JOIN
        in_scope_trace_id AS s_trace_id,
        in_scope_span_id AS s_span_id,
        in_scope_parent_span_id AS s_parent_span_id,
        in_scope_trace_state AS s_trace_state,
        in_scope_flags AS s_flags,
        in_scope_name AS s_name,
        in_scope_kind AS s_kind,
        in_scope_start_time_unix_nano AS s_start_time_unix_nano,
        in_scope_end_time_unix_nano AS s_end_time_unix_nano,
        in_scope_attributes AS s_attributes,
        in_scope_dropped_attributes_count AS s_dropped_attributes_count,
        in_scope_events AS s_events,
        in_scope_dropped_events_count AS s_dropped_events_count,
        in_scope_links AS s_links,
        in_scope_dropped_links_count AS s_dropped_links_count,
        in_scope_status AS s_status
);
