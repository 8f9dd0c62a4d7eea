"""What the protos promise."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_generated_code_is_what_the_protos_generate(tmp_path):
    protos = sorted((ROOT / "proto/otel_vtrack/v1").glob("*.proto"))
    outputs = [
        f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")
    ]
    plugins = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT / "proto", *outputs, *protos],
        check=True,
        env=os.environ | plugins,
    )
    generated = {path.name: path.read_text() for path in (tmp_path / "otel_vtrack/v1").iterdir()}
    committed = {
        path.name: path.read_text()
        for path in (ROOT / "otel_vtrack/v1").glob("*_pb2*.py*")
        if path.suffix in {".py", ".pyi"}
    }
    assert generated == committed


def test_every_message_and_field_of_the_protos_is_explained():
    for path in (ROOT / "proto/otel_vtrack/v1").glob("*.proto"):
        lines = [line.strip() for line in path.read_text().splitlines()]
        for before, line in itertools.pairwise(lines):
            declares = line.endswith(("{", ";")) and not line.startswith(
                ("//", "package", "import", "syntax")
            )
            assert not declares or before.startswith("//"), f"{path.name}: {line}"


def test_names_of_moments_end_alike():
    for path in (ROOT / "proto/otel_vtrack/v1").glob("*.proto"):
        for name in re.findall(r"Timestamp (\w+) =", path.read_text()):
            assert re.fullmatch(r"(\w+_)?time|\w+_(from|until)|(first|last)_seen", name), name


def buf(*words, expect=0):
    command = [Path(sys.executable).parent / "buf", *words]
    # It keeps what it fetched below the home; it fetches nothing here.
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def test_the_protos_are_as_buf_wants_them():
    buf("lint", ROOT / "proto")
    buf("format", "--exit-code", "--diff", ROOT / "proto")


def test_no_client_of_what_was_published_breaks():
    buf("breaking", ROOT / "proto", "--against", ROOT / "proto/published.txtpb")


def test_a_change_that_breaks_clients_is_noticed(tmp_path):
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    changed = tmp_path / "proto/otel_vtrack/v1/analysis.proto"
    text = changed.read_text()
    assert "uint64 max_traces = 9;" in text
    changed.write_text(text.replace("uint64 max_traces = 9;", "string max_traces = 9;"))
    published = ROOT / "proto/published.txtpb"
    assert "max_traces" in buf("breaking", tmp_path / "proto", "--against", published, expect=100)
