"""`vtrack export` and `vtrack import` as a user types them."""

import json
import subprocess
import sys

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def served(vtrack_on, tmp_path_factory):
    started = vtrack_on(tmp_path_factory.mktemp("served") / "store")
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scoped = group.scope_spans.add()
    for number in range(1, 4):
        scoped.spans.add(
            trace_id=bytes([number]) * 16,
            span_id=bytes([number]) * 8,
            name=f"step {number}",
            start_time_unix_nano=1_790_000_000 * SECOND + number,
        )
    started.export(request)
    return started


def vtrack(served, *words, expect=0, **options):
    done = subprocess.run(
        [sys.executable, "-m", "otel_vtrack", *words, "--server", served.grpc],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_lines_go_to_standard_output_and_come_from_standard_input(served):
    done = vtrack(served, "export", "--format", "jsonl", "-o", "-", "--filter", "name = 'step 2'")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["span"]["name"] == "step 2"
    assert done.stderr.startswith("exported 1 span, 0 log records, 0 changes")
    done = vtrack(served, "import", "-", input=done.stdout)
    assert done.stderr.startswith("imported 1 span,")


def test_what_was_done_is_told_as_JSON_too(served, tmp_path):  # noqa: N802
    done = vtrack(served, "export", "-o", str(tmp_path / "all.jsonl"), "--json")
    told = json.loads(done.stdout)
    assert told["spans"] == 3
    assert told["bytes"] > 100
    assert done.stderr == ""
    done = vtrack(served, "import", str(tmp_path / "all.jsonl"), "--json")
    assert json.loads(done.stdout) == told | {"rejected": 0}


def test_a_time_that_is_counted_from_now_is_no_other_when_the_export_goes_on(served, tmp_path):
    output = tmp_path / "part"
    words = ("export", "-o", str(output), "--until", "1s", "--format", "jsonl")
    vtrack(served, *words)
    whole = output.read_bytes()
    everything = dict.fromkeys(("experiment", "since", "until", "filter"), "")
    # As if it had been broken off behind its first page.
    state = {
        "question": {"format": "jsonl", **everything, "until": "1s"},
        "what": {**everything, "until": "2030-01-01 00:00:00+00:00"},
        "place": ["log_records", ""],
        "mark": {"size": len(whole)},
        "counts": {"spans": 3, "log_records": 0, "changes": 0, "bytes": 0, "rejected": 0},
    }
    (tmp_path / "part.state").write_text(json.dumps(state))
    done = vtrack(served, *words)
    assert done.stderr.startswith("exported 3 spans")
    assert output.read_bytes() == whole
    assert not (tmp_path / "part.state").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("export", "-o", "-", "--format", "otlp"), 2, "give a folder"),
        (("export", "-o", "-", "--filter", "= 1"), 2, "column 1"),
        (("export", "-o", "-", "--since", "soon"), 2, "is no time"),
        (("export",), 2, "--output"),
        (("import", "nowhere"), 2, "nowhere does not exist"),
        (("import", ""), 2, "a file without a name does not exist"),
        (("import", "n" * 300), 2, "n does not exist"),
        (("import",), 2, "PATH"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_a_code(served, tmp_path, words, code, said):
    done = vtrack(served, *words, expect=code, cwd=tmp_path)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_does_not_read_and_spans_that_are_refused_end_with_1(served, tmp_path):
    (tmp_path / "bad").write_text('{"resourceSpans": 1}\n')
    done = vtrack(served, "import", str(tmp_path / "bad"), expect=1)
    assert "bad, line 1" in done.stderr
    (tmp_path / "none").write_text(
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"00"}]}]}]}\n'
    )
    done = vtrack(served, "import", str(tmp_path / "none"), expect=1)
    assert "the server rejected spans or log records: 1" in done.stderr


def test_without_pyarrow_it_says_what_to_install(served, tmp_path):
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from otel_vtrack.cli import main; sys.argv[0] = 'vtrack'; main()"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "export", "--format", "parquet"),
            *("-o", tmp_path / "p", "--server", served.grpc),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    assert "otel-vtrack[analysis]" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_both(served):
    done = subprocess.run(
        [sys.executable, "-m", "otel_vtrack", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "  export " in done.stdout
    assert "  import " in done.stdout
