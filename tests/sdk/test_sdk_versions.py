"""These tests again, with the oldest SDK we allow, one in the middle, and the newest."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OTHER_PYTHONS = ["python3.10", "python3.12", "python3.13"]


def pinned(sdk, contrib):
    """Return the requirements of one release of OpenTelemetry, and what these tests need."""
    names = ("api", "sdk", "exporter-otlp", "proto")
    return [
        *(f"opentelemetry-{name}{sdk}" for name in names),
        *(f"opentelemetry-{name}{contrib}" for name in ("distro", "instrumentation")),
        *("openfeature-sdk", "pytest>=9", "pytest-timeout"),
        # Older instrumentation imports pkg_resources, of which later setuptools warn.
        "setuptools<67",
    ]


RELEASES = {
    "1.27": pinned("==1.27.0", "==0.48b0"),
    "1.37": pinned("==1.37.0", "==0.58b0"),
    "newest": pinned(">=1.45", ">=0.66b0"),
}


def run_tests(programs, folder):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PYTEST_"))}
    done = subprocess.run(
        [
            *(str(programs / "pytest"), str(HERE), "-q", "-p", "no:cacheprovider"),
            f"--confcutdir={HERE}",
        ],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("release", RELEASES)
def test_everything_holds_with_sdk(installed, tmp_path, release):
    run_tests(installed(f"sdk-{release}", *RELEASES[release]), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", OTHER_PYTHONS)
def test_everything_holds_with(installed, tmp_path, python):
    # On the PATH there may be a version manager's stand-in with nothing behind it.
    if not shutil.which(python) or subprocess.run([python, "-c", ""], check=False).returncode:
        pytest.skip(f"{python} is not installed")
    run_tests(installed(python, *RELEASES["newest"], python=python), tmp_path)
