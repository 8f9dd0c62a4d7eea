"""The allocator's settings, in a process of their own."""

import platform
import subprocess
import sys


def test_freed_memory_is_kept_where_glibc_is_and_nothing_fails_elsewhere():
    code = "from otel_vtrack.ingest import memory; print(memory.keep_freed_memory())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
