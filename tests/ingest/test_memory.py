"""The allocator's settings, in a process of their own."""

import platform
import subprocess
import sys

import pytest


@pytest.mark.parametrize("told", ["keep_freed_memory", "give_freed_memory_back"])
def test_glibc_is_told_what_to_do_with_freed_memory_and_nothing_fails_elsewhere(told):
    code = f"from otel_vtrack.ingest import memory; print(memory.{told}())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
