"""What `import otel_vtrack` promises: its names, and that it is light."""

import subprocess
import sys
from importlib import metadata
from importlib.metadata import PackageNotFoundError, version

import otel_vtrack

HEAVY = [
    *("grpc", "google", "requests", "openfeature", "chdb", "clickhouse_connect", "starlette"),
    *("uvicorn", "click", "rich", "pydantic", "subprocess", "asyncio", "importlib.metadata"),
    *("opentelemetry.exporter", "opentelemetry.sdk._logs", "tempfile", "shutil"),
]


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_the_names_are_those_listed_and_no_more():
    public = [
        name
        for name in dir(otel_vtrack)
        if not name.startswith("_")
        # Submodules become attributes once something imports them.
        and f"otel_vtrack.{name}" not in sys.modules
        and name not in {"Any", "Final", "TYPE_CHECKING", "import_module"}
    ]
    assert sorted([*public, "__version__"]) == sorted(otel_vtrack.__all__)


def test_every_name_is_there():
    for name in otel_vtrack.__all__:
        assert getattr(otel_vtrack, name) is not None
    assert otel_vtrack.__version__ == version("otel-vtrack")
    assert not hasattr(otel_vtrack, "no_such_name")


def test_without_its_metadata_it_has_no_version_and_harms_nobody(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.delitem(vars(otel_vtrack), "__version__", raising=False)
    assert getattr(otel_vtrack, "__version__", None) is None


def test_the_import_alone_loads_nothing_of_opentelemetry():
    loaded = run("import sys, otel_vtrack; print(*sys.modules)")
    assert not [name for name in loaded if name.partition(".")[0] == "opentelemetry"]


def test_the_public_names_load_nothing_heavy_beyond_the_sdk():
    program = """
import sys, opentelemetry.sdk.trace
before = set(sys.modules)
from otel_vtrack import VersionSpanProcessor, detect_version, install, tag
print(*(set(sys.modules) - before))
"""
    loaded = run(program)
    assert "otel_vtrack.sdk.processor" in loaded
    assert not [name for name in loaded if any(f"{name}.".startswith(f"{it}.") for it in HEAVY)]
