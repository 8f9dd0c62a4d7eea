"""What real SDKs send becomes assessments, over a real server."""

import os
import subprocess
import time

import pytest
from opentelemetry import _logs
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import otel_vtrack
from otel_vtrack.client import Client
from otel_vtrack.server import running
from otel_vtrack.settings import Settings
from otel_vtrack.v1 import assessments_pb2 as pb

SHOP = Resource({"service.name": "shop"})


@pytest.fixture(scope="module")
def server(tmp_path_factory, copy_store):
    settings = Settings(
        store_url=f"chdb://{copy_store(tmp_path_factory.mktemp('sdks') / 'store')}",
        grpc="127.0.0.1:0",
        http="127.0.0.1:0",
    )
    with running(settings) as started:
        yield started


@pytest.fixture
def client(server):
    with Client(server.grpc_address, timeout=30) as opened:
        yield opened


@pytest.fixture
def tracer(server):
    provider = TracerProvider(resource=SHOP, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"http://{server.http_address}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


@pytest.fixture
def logs(server):
    provider = LoggerProvider(resource=SHOP, shutdown_on_exit=False)
    exporter = OTLPLogExporter(server.grpc_address, insecure=True)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    yield provider
    provider.shutdown()


def ids(span):
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def of(client, trace_id):
    return sorted(
        client.search_assessments(f"trace_id = '{trace_id}'"), key=lambda each: each.assessment_name
    )


def test_an_event_of_opentelemetrys_logger_is_about_the_current_span(client, tracer, logs):
    logger = logs.get_logger("judge")
    with tracer.start_as_current_span("work") as span:
        for name, attributes in [
            ("a", {"gen_ai.evaluation.score.value": 0.5, "gen_ai.evaluation.explanation": "why"}),
            ("b", {"gen_ai.evaluation.score.label": "kind"}),
            ("c", {"error.type": "Late"}),
        ]:
            logger.emit(
                event_name="gen_ai.evaluation.result",
                timestamp=time.time_ns(),
                attributes={"gen_ai.evaluation.name": name} | attributes,
            )
    trace_id, span_id = ids(span)
    a, b, c = of(client, trace_id)
    assert (a.assessment_name, a.value.number_value, a.rationale) == ("a", 0.5, "why")
    assert (b.value.string_value, c.error.error_code) == ("kind", "Late")
    assert {each.span_id for each in (a, b, c)} == {span_id}
    assert {each.experiment for each in (a, b, c)} == {"shop"}


def test_an_event_on_a_span_of_opentelemetrys_sdk(client, tracer):
    with tracer.start_as_current_span("work") as span:
        span.add_event(
            "gen_ai.evaluation.result",
            {"gen_ai.evaluation.name": "it", "gen_ai.evaluation.score.value": 1},
        )
    trace_id, span_id = ids(span)
    [found] = of(client, trace_id)
    assert (found.span_id, found.value.number_value) == (span_id, 1)


VALUES = [0.5, 3, True, False, "yes", [1, "x", None], {"a": {"b": [0.5]}}]


@pytest.mark.parametrize("by", ["log", "span event"])
def test_what_our_own_sdk_logs_comes_whole(client, tracer, logs, monkeypatch, by):
    provider = logs if by == "log" else _logs.NoOpLoggerProvider()
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)
    made = {}
    with tracer.start_as_current_span("work") as span:
        for value in VALUES:
            made[otel_vtrack.log_feedback("value", value)] = value
        first = otel_vtrack.log_feedback(
            "it",
            1,
            rationale="why",
            metadata={"a": 1},
            source_type="HUMAN",
            source_id="ann",
            session="s",
        )
        try:
            raise ValueError("no")  # noqa: TRY301 - its stack is what is looked at
        except ValueError as error:
            second = otel_vtrack.log_feedback("it", error=error, overrides=first, session="s")
        third = otel_vtrack.log_expectation("it", {"b": [1]})
    trace_id, span_id = ids(span)
    for assessment_id, value in made.items():
        found = client.get_assessment(assessment_id)
        kept = client.get_assessment(assessment_id).value
        assert kept == pb.Assessment(value=kept).value
        assert as_python(kept) == value
        assert type(as_python(kept)) is type(value) or isinstance(value, int)
        assert (found.trace_id, found.span_id) == (trace_id, span_id)
    a, b, c = (client.get_assessment(each) for each in (first, second, third))
    assert (a.rationale, a.source_type, a.source_id) == ("why", pb.SOURCE_TYPE_HUMAN, "ann")
    assert dict(a.metadata) == {"a": "1", "mlflow.trace.session": "s"}
    assert (a.session_id, a.valid) == ("s", False)
    assert (b.overrides, b.valid, b.error.error_code) == (first, True, "ValueError")
    assert b.error.error_message == "no"
    assert "raise ValueError" in b.error.stack_trace
    assert c.assessment_type == pb.ASSESSMENT_TYPE_EXPECTATION
    assert (c.source_type, c.source_id) == (pb.SOURCE_TYPE_HUMAN, "default")


def as_python(value):
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [as_python(item) for item in value.list_value.values]
    if kind == "struct_value":
        return {key: as_python(item) for key, item in value.struct_value.fields.items()}
    return None if kind == "null_value" else getattr(value, kind)


# The package itself, in an environment of its own that is kept from run to run.
REQUIREMENTS = ["pydantic-evals==2.62.0", "opentelemetry-sdk", "opentelemetry-exporter-otlp"]
PROGRAM = """
import asyncio
from dataclasses import dataclass
from opentelemetry import _logs, trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from pydantic_evals.evaluators import Evaluator
from pydantic_evals.online import evaluate, wait_for_evaluations

spans, logs = TracerProvider(), LoggerProvider()
spans.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter()))
trace.set_tracer_provider(spans)
_logs.set_logger_provider(logs)

@dataclass
class Fits(Evaluator):
    def evaluate(self, ctx):
        return bool(ctx.output)

@dataclass
class Score(Evaluator):
    def evaluate(self, ctx):
        return 0.25

@dataclass
class Tone(Evaluator):
    def evaluate(self, ctx):
        return "kind"

@dataclass
class Broken(Evaluator):
    def evaluate(self, ctx):
        raise ValueError("no")

    def get_evaluator_version(self):
        return "v3"

@evaluate(Fits(), Score(), Tone(), Broken())
async def answer(question):
    return "42"

async def main():
    with spans.get_tracer("shop").start_as_current_span("work") as span:
        await answer("why?")
        await wait_for_evaluations()
        print(format(span.get_span_context().trace_id, "032x"))

asyncio.run(main())
spans.shutdown()
logs.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_pydantic_evals_finds_online_is_an_assessment(client, server, environment, tmp_path):
    programs = environment("pydantic-evals", *REQUIREMENTS)
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")} | {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{server.grpc_address}",
    }
    done = subprocess.run(
        [str(programs / "python"), "-c", PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=variables,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    broken, fits, score, tone = of(client, done.stdout.strip())
    assert (fits.assessment_name, fits.value.bool_value) == ("Fits", True)
    assert (score.value.number_value, tone.value.string_value) == (0.25, "kind")
    assert (broken.error.error_code, broken.error.error_message) == ("ValueError", "ValueError: no")
    assert broken.metadata["gen_ai.evaluation.evaluator.version"] == "v3"
    assert broken.metadata["gen_ai.evaluation.target"] == "answer"
    assert {each.source_type for each in (broken, fits, score, tone)} == {pb.SOURCE_TYPE_CODE}
    assert {each.source_id for each in (broken, fits)} == {"Broken", "Fits"}
