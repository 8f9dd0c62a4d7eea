-- What a span is, in MLflow's words: from whatever convention it follows, else ''.
--
-- By MLflow, OpenInference, the GenAI conventions, Traceloop, Vercel AI, Laminar, Langfuse and
-- VoltAgent, the first that says it; docs/search.md has the same table in words. A column of its
-- own, so that a search for a type does not read attributes.

ALTER TABLE spans/*@_local ON CLUSTER '{cluster}'*/ ADD COLUMN IF NOT EXISTS type LowCardinality(String) MATERIALIZED
    multiIf(
        attributes['mlflow.spanType'] != '',
            trim(BOTH '"' FROM attributes['mlflow.spanType']),
        attributes['openinference.span.kind'] != '',
            upper(attributes['openinference.span.kind']),
        attributes['gen_ai.operation.name'] != '',
            transform(attributes['gen_ai.operation.name'],
                ['chat', 'create_agent', 'invoke_agent', 'embeddings', 'execute_tool', 'generate_content', 'text_completion', 'response', 'retrieval', 'invoke_workflow'],
                ['CHAT_MODEL', 'AGENT', 'AGENT', 'EMBEDDING', 'TOOL', 'LLM', 'LLM', 'LLM', 'RETRIEVER', 'WORKFLOW'],
                ''),
        attributes['traceloop.span.kind'] != '',
            upper(attributes['traceloop.span.kind']),
        attributes['ai.operationId'] != '',
            multiIf(
                startsWith(attributes['ai.operationId'], 'ai.embed'), 'EMBEDDING',
                startsWith(attributes['ai.operationId'], 'ai.toolCall'), 'TOOL',
                startsWith(attributes['ai.operationId'], 'ai.'), 'LLM',
                ''),
        attributes['lmnr.span.type'] NOT IN ('', 'DEFAULT'),
            upper(attributes['lmnr.span.type']),
        attributes['langfuse.observation.type'] NOT IN ('', 'span', 'event'),
            if(attributes['langfuse.observation.type'] = 'generation', 'LLM', upper(attributes['langfuse.observation.type'])),
        attributes['span.type'] != '', upper(attributes['span.type']),
        upper(attributes['entity.type']));

/*@
ALTER TABLE spans ON CLUSTER '{cluster}' ADD COLUMN IF NOT EXISTS type LowCardinality(String);
*/
