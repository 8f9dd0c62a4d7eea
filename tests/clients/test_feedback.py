"""From a line in an app to an assessment and a tag in the store, with nothing in between set up."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_vtrack.client import Client

APP = """
import otel_vtrack
from opentelemetry import trace
with trace.get_tracer("app").start_as_current_span("root"):
    with trace.get_tracer("app").start_as_current_span("answer"):
        first = otel_vtrack.log_feedback("relevance", 0.5, rationale="so so")
        otel_vtrack.log_feedback("relevance", 0.75, overrides=first, source_type="HUMAN",
                                 source_id="ann", metadata={"k": "v"})
        otel_vtrack.log_feedback("cites", True, whole_trace=True)
        otel_vtrack.log_feedback("facts", {"right": [1, 2]}, source_type="LLM_JUDGE")
        otel_vtrack.log_expectation("city", "Bern", assessment_id="a-mine")
        try:
            raise TimeoutError("judge too slow")
        except TimeoutError as error:
            otel_vtrack.log_feedback("judge", error=error)
        otel_vtrack.set_trace_tag("customer", "acme")
"""


@pytest.mark.parametrize("logs", ["otlp", "none"], ids=["as log records", "as span events"])
def test_what_an_app_says_of_its_trace_is_found(vtrack, tmp_path, logs):
    served = vtrack()
    program = tmp_path / "app.py"
    program.write_text(APP)
    environment = {name: it for name, it in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, program],
        env=environment
        | {
            "OTEL_SERVICE_NAME": "app",
            "OTEL_TRACES_EXPORTER": "vtrack",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": logs,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{served.grpc}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with Client(served.grpc, timeout=60) as client:
        found = settled(client)
        trace = next(iter(client.search_traces()))
        root = client.get_trace(trace.trace_id)
    assert trace.tags["customer"] == "acme"
    assert {it.trace_id for it in found} == {trace.trace_id}
    by_name = {}
    for it in found:
        by_name.setdefault(it.assessment_name, []).append(it)
    old, new = sorted(by_name["relevance"], key=lambda it: it.valid)
    assert (old.value.number_value, old.valid, old.rationale) == (0.5, False, "so so")
    assert (new.value.number_value, new.overrides) == (0.75, old.assessment_id)
    assert (new.source_type, new.source_id, dict(new.metadata)) == (1, "ann", {"k": "v"})
    names = {
        span.span_id.hex(): span.name
        for group in root.otlp.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    }
    assert names[new.span_id] == "answer"
    (cites,) = by_name["cites"]
    assert cites.value.bool_value is True
    # A span event is about the span that it is on.
    assert cites.span_id == "" or logs == "none"
    assert by_name["facts"][0].value.struct_value["right"][1] == 2
    (city,) = by_name["city"]
    assert (city.assessment_id, city.assessment_type) == ("a-mine", 2)
    (judge,) = by_name["judge"]
    assert (judge.error.error_code, judge.error.error_message) == ("TimeoutError", "judge too slow")
    assert "TimeoutError" in judge.error.stack_trace


def settled(client):
    deadline = time.monotonic() + 20
    while True:
        found = list(client.search_assessments())
        if len(found) >= 6 or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
