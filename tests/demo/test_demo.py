import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_tells_the_slow_version_from_the_fast_one_and_ends_well():
    ran = subprocess.run(
        [sys.executable, "-m", "otel_vtrack.demo"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    words = " ".join(ran.stdout.split())
    assert "2.4.0 is slower than 2.3.1 in production" in words
    assert "2.4.0 fails more often than 2.3.1 in production" in words
    assert "invoke_agent assistant" in words
