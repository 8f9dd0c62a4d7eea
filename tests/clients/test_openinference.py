"""Spans of OpenInference's own package: what Phoenix's instrumentations send."""

import json

import pytest
from openinference.instrumentation import (
    Message,
    OITracer,
    TokenCount,
    TraceConfig,
    get_evaluation_attributes,
    get_llm_attributes,
    using_attributes,
)
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_vtrack.query import assessments, spans, traces


@pytest.fixture
def answered(store, writer):
    """One trace of two spans in a session, judged, as it arrives; its id."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource({"service.name": "support", "service.version": "2.4.0"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = OITracer(provider.get_tracer("support"), TraceConfig())
    with (
        using_attributes(session_id="s-1", user_id="u-7", metadata={"plan": "pro"}),
        tracer.start_as_current_span("answer", openinference_span_kind="agent") as agent,
    ):
        agent.set_input({"question": "Where is my order?"})
        agent.set_output("On its way.")
        judged = [
            {"name": "helpful", "score": 0.5, "label": "fair", "explanation": "late",
             "annotator_kind": "LLM"}
        ]  # fmt: skip
        agent.set_attributes(get_evaluation_attributes(evaluations=judged, scope="trace"))
        with tracer.start_as_current_span("ask", openinference_span_kind="llm") as call:
            call.set_attributes(
                get_llm_attributes(
                    provider="openai",
                    model_name="gpt-4.1",
                    input_messages=[Message(role="user", content="Where is my order?")],
                    token_count=TokenCount(prompt=100, completion=20, total=120),
                )
            )
    writer.write_traces(encode_spans(exporter.get_finished_spans()).SerializeToString())
    return f"{agent.get_span_context().trace_id:032x}"


def test_a_trace_is_what_the_package_says_it_is(store, answered):
    [info] = traces.get(store, answered).infos
    assert (info.version, info.session_id, info.user_id) == ("2.4.0", "s-1", "u-7")
    assert json.loads(info.request_preview) == {"question": "Where is my order?"}
    assert info.response_preview == "On its way."
    assert (info.token_usage.input_tokens, info.token_usage.output_tokens) == (100, 20)
    assert info.cost.total_cost > 0


def test_its_spans_are_found_by_what_they_are(store, answered):
    for kind, name in (("AGENT", "answer"), ("LLM", "ask")):
        [found] = spans.search(store, text=f"type = '{kind}'").spans
        assert found.name == name


def test_its_evaluations_are_feedback_on_the_trace(store, answered):
    [said] = traces.get(store, answered).infos[0].assessments
    assert (said.assessment_name, said.value, said.rationale) == ("helpful", "0.5", "late")
    assert said.source_type is assessments.SourceType.LLM_JUDGE
    assert said.span_id == ""
