"""What is said of a trace from inside the app goes out as a standard event."""

import enum
import json
import logging
import math
import subprocess
import sys

import pytest
from opentelemetry import _logs, trace
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.trace import TracerProvider

import otel_vtrack
from otel_vtrack.sdk import local_root, trace_tags
from otel_vtrack.sdk.processor import VersionSpanProcessor

EVENT = "gen_ai.evaluation.result"


@pytest.fixture
def no_logs(monkeypatch):
    """No logger provider is set up."""
    monkeypatch.setattr(_logs, "get_logger_provider", _logs.NoOpLoggerProvider)


@pytest.fixture
def records(monkeypatch):
    """What a logger provider of the real SDK was given: (name, attributes, trace id, span id)."""
    provider = sdk_logs.LoggerProvider(shutdown_on_exit=False)
    # Renamed in 1.39; the older name went in 1.42.
    name = "InMemoryLogRecordExporter"
    exporter = getattr(log_export, name, None) or log_export.InMemoryLogExporter
    memory = exporter()
    provider.add_log_record_processor(log_export.SimpleLogRecordProcessor(memory))
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)

    def read():
        return [seen(each.log_record) for each in memory.get_finished_logs()]

    yield read
    provider.shutdown()


def seen(record):
    attributes = dict(record.attributes)
    name = getattr(record, "event_name", None) or attributes.pop("event.name")
    return name, attributes, record.trace_id, record.span_id


@pytest.fixture
def tracer(record):
    return record().tracer


def test_feedback_on_the_current_span_is_a_log_record_with_its_ids(records, tracer):
    with tracer.start_as_current_span("work") as span:
        made = otel_vtrack.log_feedback(
            "relevance",
            0.8,
            rationale="cites the page",
            metadata={"judge": "v3", "cost": 0.25, "n": None},
            source_type="LLM_JUDGE",
            source_id="judge-1",
            overrides="a-1",
        )
    ((name, attributes, trace_id, span_id),) = records()
    assert name == EVENT
    assert (trace_id, span_id) == (span.context.trace_id, span.context.span_id)
    assert json.loads(attributes.pop("vtrack.assessment.metadata")) == {
        "judge": "v3",
        "cost": "0.25",
    }
    assert attributes == {
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.value": 0.8,
        "gen_ai.evaluation.explanation": "cites the page",
        "vtrack.assessment.id": made,
        "vtrack.assessment.type": "feedback",
        "vtrack.assessment.value": "0.8",
        "vtrack.assessment.source_type": "LLM_JUDGE",
        "vtrack.assessment.source_id": "judge-1",
        "vtrack.assessment.overrides": "a-1",
    }
    assert made.startswith("a-")
    assert len(made) == 34


class Grade(str, enum.Enum):
    GOOD = "good"


class Scalar:
    """As numpy's are."""

    def __init__(self, value):
        self._value = value

    def item(self):
        return self._value


class Array:
    """As numpy's are: `item` is only for those of one member."""

    def item(self):
        raise ValueError("can only convert an array of size 1 to a Python scalar")

    def tolist(self):
        return [0.5, 1]


VALUES = [
    (3, 3.0, None, "3"),
    (0.5, 0.5, None, "0.5"),
    (0, 0.0, None, "0"),
    (True, 1.0, "pass", "true"),
    (False, 0.0, "fail", "false"),
    ("good", None, "good", '"good"'),
    (Grade.GOOD, None, "good", '"good"'),
    (["a", 1, None], None, None, '["a", 1, null]'),
    ({"a": {"b": [True]}}, None, None, '{"a": {"b": [true]}}'),
    ({"b"}, None, None, '["b"]'),
    (Scalar(0.25), 0.25, None, "0.25"),
    (Scalar(True), 1.0, "pass", "true"),
    (Array(), None, None, "[0.5, 1]"),
    ({"when": Scalar("x")}, None, None, None),
]


@pytest.mark.parametrize("case", VALUES)
def test_a_value_of_any_type_is_told_as_the_conventions_do_and_exactly(records, tracer, case):
    value, score, label, text = case
    with tracer.start_as_current_span("work"):
        otel_vtrack.log_feedback("it", value)
    ((_, attributes, *_),) = records()
    assert attributes.get("gen_ai.evaluation.score.value") == score
    assert attributes.get("gen_ai.evaluation.score.label") == label
    assert type(attributes.get("gen_ai.evaluation.score.value")) in {float, type(None)}
    if text is not None:
        assert attributes["vtrack.assessment.value"] == text
    json.loads(attributes["vtrack.assessment.value"])


def test_what_is_no_number_in_JSON_is_one_in_the_score(records, tracer):  # noqa: N802
    with tracer.start_as_current_span("work"):
        otel_vtrack.log_feedback("it", math.nan)
    ((_, attributes, *_),) = records()
    assert math.isnan(attributes["gen_ai.evaluation.score.value"])
    assert "vtrack.assessment.value" not in attributes


def test_an_exception_instead_of_a_value_brings_its_message_and_stack(records, tracer):
    def judge():
        raise TimeoutError("too slow")

    with tracer.start_as_current_span("work"):
        try:
            judge()
        except TimeoutError as error:
            otel_vtrack.log_feedback("it", error=error)
        otel_vtrack.log_feedback("it", error="RateLimitExceeded")
    (_, first, *_), (_, second, *_) = records()
    assert first["error.type"] == "TimeoutError"
    assert first["vtrack.assessment.error_message"] == "too slow"
    assert "in judge" in first["vtrack.assessment.stack_trace"]
    assert "vtrack.assessment.value" not in first
    assert second["error.type"] == "RateLimitExceeded"


def test_a_stack_trace_keeps_its_end(records, tracer):
    def deep(levels):
        return deep(levels - 1) if levels else 1 / 0

    def twisted(levels):  # another frame each time, or the traceback would fold them
        return deep(levels - 1) if levels % 2 else deep(levels)

    with tracer.start_as_current_span("work"):
        error = ValueError("x" * 50_000)
        otel_vtrack.log_feedback("it", error=error)
    ((_, attributes, *_),) = records()
    assert len(attributes["vtrack.assessment.stack_trace"]) == 10_000
    assert attributes["vtrack.assessment.stack_trace"].endswith("x\n")


def test_an_expectation_says_what_it_is_and_that_a_person_said_so(records, tracer):
    with tracer.start_as_current_span("work"):
        otel_vtrack.log_expectation("answer", {"city": "Bern"}, assessment_id="a-mine")
    ((_, attributes, *_),) = records()
    assert attributes["vtrack.assessment.type"] == "expectation"
    assert attributes["vtrack.assessment.source_type"] == "HUMAN"
    assert attributes["vtrack.assessment.id"] == "a-mine"


@pytest.mark.parametrize("form", ["span", "context", "ids", "MLflow's"])
def test_it_may_be_about_a_span_that_has_ended(records, tracer, form):
    span = tracer.start_span("earlier")
    span.end()
    ids = span.context
    about = {
        "span": {"span": span},
        "context": {"span": ids},
        "ids": {"trace_id": ids.trace_id, "span_id": ids.span_id},
        "MLflow's": {"trace_id": f"tr-{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"},
    }
    with tracer.start_as_current_span("now"):
        otel_vtrack.log_feedback("it", 1, **about[form])
    ((_, _, trace_id, span_id),) = records()
    assert (trace_id, span_id) == (ids.trace_id, ids.span_id)


def test_it_may_be_about_a_whole_trace(records, tracer):
    otel_vtrack.log_feedback("it", 1, trace_id="ab" * 16)
    with tracer.start_as_current_span("now") as span:
        otel_vtrack.log_feedback("it", 1, whole_trace=True)
        otel_vtrack.log_feedback("it", 1, trace_id="cd" * 16, span_id="ef" * 8, whole_trace=True)
    (_, _, first, *_), (_, _, second, *_), (_, _, third, *_) = records()
    assert f"{first:032x}" == "ab" * 16
    assert second == span.context.trace_id
    assert f"{third:032x}" == "cd" * 16
    assert [span_id for *_, span_id in records()] == [0, 0, 0]


def test_it_may_be_about_a_whole_session(records, tracer):
    with tracer.start_as_current_span("now"):
        otel_vtrack.log_feedback("it", 1, session="s-1", metadata={"k": True})
    ((_, attributes, *_),) = records()
    assert json.loads(attributes["vtrack.assessment.metadata"]) == {
        "k": "true",
        "mlflow.trace.session": "s-1",
    }


def test_without_logs_it_is_an_event_of_the_span(no_logs, record):
    recorded = record()
    with recorded.tracer.start_as_current_span("work"):
        made = otel_vtrack.log_feedback("it", True)
    ((event,),) = [span.events for span in recorded.spans()]
    assert event.name == EVENT
    assert event.attributes["vtrack.assessment.id"] == made
    assert event.attributes["gen_ai.evaluation.score.label"] == "pass"


def test_without_logs_it_is_on_the_given_span_and_never_on_that_of_another_trace(no_logs, record):
    recorded = record()
    other = recorded.tracer.start_span("other")
    with recorded.tracer.start_as_current_span("work"):
        otel_vtrack.log_feedback("given", 1, span=other)
        otel_vtrack.log_feedback("lost", 1, trace_id="ab" * 16)
    other.end()
    events_of = {
        span.name: [dict(it.attributes) for it in span.events] for span in recorded.spans()
    }
    assert [it["gen_ai.evaluation.name"] for it in events_of["other"]] == ["given"]
    assert events_of["work"] == []


def test_with_nobody_to_take_it_there_is_one_line_for_those_who_look(no_logs, caplog):
    with caplog.at_level(logging.DEBUG, "otel_vtrack"):
        made = otel_vtrack.log_feedback("it", 1)
        otel_vtrack.log_feedback("it", 1, trace_id="ab" * 16)
        otel_vtrack.set_trace_tag("k", "v")
    assert made.startswith("a-")
    assert [entry.levelno for entry in caplog.records] == [logging.DEBUG] * 3


def test_a_provider_without_an_exporter_counts_as_none(monkeypatch, record):
    provider = sdk_logs.LoggerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)
    recorded = record()
    with recorded.tracer.start_as_current_span("work"):
        otel_vtrack.log_feedback("it", 1)
    assert [event.name for event in recorded.spans()[0].events] == [EVENT]


class Hostile:
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "given",
    [
        {"value": Hostile()},
        {"value": {"a": Hostile()}},
        {"value": [math.nan]},
        {"value": 1, "metadata": {"k": Hostile()}},
        {"value": 1, "trace_id": "no id"},
        {"value": 1, "trace_id": 1 << 200},
        {"value": 1, "trace_id": "ab" * 16, "span_id": 0},
        {"value": 1, "span_id": "ab" * 8},
        {"value": 1, "span": "no span"},
        {"value": 1, "metadata": 7},
        {},
    ],
)
def test_nothing_a_caller_does_wrong_reaches_the_app(records, tracer, monkeypatch, given, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    with tracer.start_as_current_span("work"):
        assert otel_vtrack.log_feedback("it", **given).startswith("a-")
    assert records() == []
    assert "the application continues" in caplog.text


def test_a_tag_is_on_the_first_span_of_the_trace_here(record):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(VersionSpanProcessor())
    recorded = record(provider)
    with (
        recorded.tracer.start_as_current_span("root"),
        recorded.tracer.start_as_current_span("middle"),
        recorded.tracer.start_as_current_span("leaf"),
    ):
        otel_vtrack.set_trace_tag("customer", "acme")
        otel_vtrack.set_trace_tag("paid", True)
        otel_vtrack.set_trace_tag("nothing", None)
    tags = {name: recorded.named(name) for name in ("root", "middle", "leaf")}
    assert tags["root"]["mlflow.traceTag.customer"] == "acme"
    assert tags["root"]["mlflow.traceTag.paid"] == "true"
    assert "mlflow.traceTag.nothing" not in tags["root"]
    assert not [key for name in ("middle", "leaf") for key in tags[name] if "traceTag" in key]


def test_a_service_that_is_called_tags_its_own_first_span(record):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(VersionSpanProcessor())
    recorded = record(provider)
    caller = trace.NonRecordingSpan(
        trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1))
    )
    with (
        recorded.tracer.start_as_current_span("serve", trace.set_span_in_context(caller)),
        recorded.tracer.start_as_current_span("inner"),
    ):
        otel_vtrack.set_trace_tag("k", "v")
    assert recorded.named("serve")["mlflow.traceTag.k"] == "v"


def test_a_trace_that_calls_twice_tags_a_first_span_that_is_still_open(record):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(VersionSpanProcessor())
    recorded = record(provider)
    ids = trace.SpanContext(71, 8, is_remote=True, trace_flags=trace.TraceFlags(1))
    caller = trace.set_span_in_context(trace.NonRecordingSpan(ids))
    one, two = (recorded.tracer.start_span(name, caller) for name in ("one", "two"))
    recorded.tracer.start_span("short", caller).end()
    for serve in (one, two):
        with trace.use_span(serve, end_on_exit=True), recorded.tracer.start_as_current_span("leaf"):
            otel_vtrack.set_trace_tag(serve.name, "v")
    for name in ("one", "two"):
        assert recorded.named(name)[f"mlflow.traceTag.{name}"] == "v"
    still_open = [recorded.tracer.start_span("open", caller) for _ in range(40)]
    assert local_root.local_root(71) in still_open
    assert len(local_root._roots.recent[71]) == local_root._MOST_OPEN


def test_a_wrapper_around_a_span_is_no_hindrance(record):
    class Wrapper(trace.NonRecordingSpan):
        """As Logfire makes them the current span."""

    provider = TracerProvider(shutdown_on_exit=False)
    otel_vtrack.install(provider)
    recorded = record(provider)
    with recorded.tracer.start_as_current_span("root"):
        leaf = recorded.tracer.start_span("leaf")
        with trace.use_span(Wrapper(leaf.get_span_context())):
            otel_vtrack.set_trace_tag("k", "v")
        leaf.end()
    assert recorded.named("root")["mlflow.traceTag.k"] == "v"


def test_without_our_processor_or_after_the_root_the_tag_is_on_the_current_span(record):
    recorded = record()
    with (
        recorded.tracer.start_as_current_span("root"),
        recorded.tracer.start_as_current_span("leaf"),
    ):
        otel_vtrack.set_trace_tag("k", "v")
    assert recorded.named("leaf")["mlflow.traceTag.k"] == "v"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(VersionSpanProcessor())
    recorded = record(provider)
    with recorded.tracer.start_as_current_span("early") as early:
        late = recorded.tracer.start_span("late")
    assert not early.is_recording()
    with trace.use_span(late, end_on_exit=True):
        otel_vtrack.set_trace_tag("k", "v")
    assert recorded.named("late")["mlflow.traceTag.k"] == "v"


def test_first_spans_are_not_kept_alive_and_their_number_is_bounded(record):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(VersionSpanProcessor())
    tracer = provider.get_tracer("test")
    for _ in range(10_000):
        tracer.start_span("root").end()
    assert trace_tags.use.roots
    known = local_root.known()
    assert len(known) <= 2 * local_root._MOST
    assert sum(span is not None for span in known) < 100
    provider.shutdown()


OPEN_ALREADY = """
import gc
import otel_vtrack
from opentelemetry.sdk.trace import TracerProvider
from otel_vtrack.sdk import local_root

gc.collect()
gc.freeze()  # what there was before is not to be looked at, to be quick
tracers = []
for stamped in (True, False):
    provider = TracerProvider(shutdown_on_exit=False)
    if stamped:
        otel_vtrack.install(provider)
    tracers.append(provider.get_tracer("t"))
for tracer in tracers:
    with tracer.start_as_current_span("root") as root:
        with tracer.start_as_current_span("leaf") as leaf:
            print(len(local_root.known()))
            otel_vtrack.set_trace_tag("k", "v")
    print(*(span.name for span in (root, leaf) if "mlflow.traceTag.k" in span.attributes))
"""


def test_first_spans_are_noted_once_a_trace_is_tagged_and_those_open_by_then_are_found():
    done = subprocess.run(
        [sys.executable, "-c", OPEN_ALREADY], check=True, capture_output=True, text=True
    )
    # Of a provider without us nothing is known.
    assert done.stdout.split() == ["0", "root", "1", "leaf"]


def test_asking_for_the_names_loads_nothing_of_the_logs_sdk():
    program = """
import sys
from otel_vtrack import log_feedback, log_expectation, set_trace_tag
log_feedback("it", 1)
print(*[name for name in sys.modules if name.startswith(("opentelemetry.sdk._logs", "grpc"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []
