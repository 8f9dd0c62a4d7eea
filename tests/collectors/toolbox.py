"""Programs of other makers that these tests run, each built once into this user's cache.

    python tests/collectors/toolbox.py

builds what is missing and says how long that took; the tests do the same when they are run alone.
Nothing of it is kept in the checkout.
"""

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).parent
BUILDER_FILE = HERE.parents[1] / "collector-config" / "builder.yaml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-vtrack"

_BUILDER = "go.opentelemetry.io/collector/cmd/builder"
_TELEMETRYGEN = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen"


class Missing(Exception):
    """A toolchain is not on PATH; the message says which."""


def tool(name: str, install: str) -> str:
    """Return the path of a program of a toolchain."""
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not on PATH: install {install} to run the tests of collectors")
    return found


def collector() -> Path:
    """Return the OpenTelemetry Collector that builder.yaml describes."""

    def build(folder: Path) -> None:
        settings = yaml.safe_load(BUILDER_FILE.read_text())["dist"]
        shutil.copy(BUILDER_FILE, folder)
        _run(
            [_go(), "run", f"{_BUILDER}@v{settings['version']}", "--config", "builder.yaml"],
            cwd=folder,
        )
        made = folder / settings["output_path"] / settings["name"]
        made.rename(folder / "collector.made")
        shutil.rmtree(folder / settings["output_path"])
        (folder / "collector.made").rename(folder / "collector")

    return _built("collector", build, BUILDER_FILE) / "collector"


def go_client() -> Path:
    """Return go/main.go as a program."""
    return _built_go() / "send"


def telemetrygen() -> Path:
    """Return the Collector project's generator, of the version in go/go.mod."""
    return _built_go() / "telemetrygen"


def java_client() -> list[str]:
    """Return the command that runs java/Send.java."""
    java = tool("java", "a JDK of 17 or newer")

    def bring(folder: Path) -> None:
        maven = tool("mvn", "Maven")
        _run(
            [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"],
            cwd=HERE / "java",
        )

    libraries = _built("java-client", bring, HERE / "java" / "pom.xml")
    return [java, "-cp", f"{libraries}/*", str(HERE / "java" / "Send.java")]


def _built_go() -> Path:
    source = HERE / "go"

    def build(folder: Path) -> None:
        for name, package in (("send", "."), ("telemetrygen", _TELEMETRYGEN)):
            _run([_go(), "build", "-o", str(folder / name), package], cwd=source)

    return _built("go-client", build, *(source / name for name in ("go.mod", "go.sum", "main.go")))


def _go() -> str:
    return tool("go", "Go 1.26")


def _run(command: list[str], cwd: Path) -> None:
    # Its output is shown: this may take minutes.
    subprocess.run(command, cwd=cwd, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def _built(name: str, build: Callable[[Path], None], *sources: Path) -> Path:
    """Return the folder that `build` fills, which is done once for these sources."""
    told = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    place = CACHE / name / told[:16]
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as work, _timed(f"{name}: built"):
            made = Path(work) / "made"
            made.mkdir()
            build(made)
            # Whoever is first wins; all have built the same.
            with contextlib.suppress(OSError):
                made.rename(place)
    return place


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    begun, used = time.monotonic(), _cpu_seconds()
    yield
    print(
        f"{what} in {time.monotonic() - begun:.0f} s, {_cpu_seconds() - used:.0f} s of CPU",
        file=sys.stderr,
    )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Build everything."""
    try:
        for each in (collector, go_client, telemetrygen, java_client):
            each()
        for name, install in (("node", "Node 20"), ("npm", "Node 20")):
            tool(name, install)
    except Missing as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
