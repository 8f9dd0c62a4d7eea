"""Reads files that were exported, or written by the Collector, by detecting their format."""

import mmap
import os.path
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from otel_vtrack.errors import InvalidArgument, WireError
from otel_vtrack.transfer import frames, line_reader
from otel_vtrack.transfer.files import CHANGES_FILE
from otel_vtrack.transfer.items import Item
from otel_vtrack.v1 import export_pb2

_PARQUET: Final = b"PAR1"
PIECE_BYTES: Final = 4 << 20
"""Approximate size of a request."""

_LONGEST_LINE: Final = 512 << 20
_KINDS_OF_CHANGES: Final = frozenset(export_pb2.Change.DESCRIPTOR.fields_by_name)
"""Names of the folders that a Parquet export has besides those of telemetry."""


def files(paths: list[str]) -> list[str]:
    """Return the files to read; of a folder all its files; `-` is kept.

    Files of changes come last, so that while an import runs, assessments and tags appear after
    their traces. The result does not depend on the order.

    Raises:
        InvalidArgument: A path does not exist, or is an incomplete export.
    """
    found: list[str] = []
    for name in paths:
        path = Path(name)
        if name == "-":
            found.append(name)
            continue
        if not name or not os.path.exists(name):  # noqa: PTH110 - Path raises on long names
            raise InvalidArgument(f"{name or 'a file without a name'} does not exist")
        # Resolved, so that it also works for `.`.
        if Path(f"{path.resolve()}.state").exists():
            raise InvalidArgument(
                f"{name} is incomplete: run the same vtrack export again to continue it"
            )
        if path.is_dir():
            inside = [it for it in sorted(path.rglob("*")) if it.is_file()]
            known = [it for it in inside if it.suffix in {".pb", ".jsonl", ".json", ".parquet"}]
            if not known:
                raise InvalidArgument(f"{name} has no exported file")
            # The sort is stable. The name of the folder itself, or of its parents, means nothing.
            known.sort(key=lambda it: _has_changes(it.relative_to(path)))
            found += map(str, known)
        else:
            found.append(name)
    return found


def _has_changes(path: Path) -> bool:
    """Return whether an exported file has changes, given its path in the imported folder."""
    return path.name == CHANGES_FILE or path.parent.name in _KINDS_OF_CHANGES


def read(name: str) -> Iterator[Item]:
    """Yield the content of a file, or of standard input.

    Raises:
        WireError: It is malformed; the message says where.
        InvalidArgument: It is Parquet, and pyarrow is missing.
    """
    if name == "-":
        yield from _lines(sys.stdin.buffer, name)
        return
    with Path(name).open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head == _PARQUET:
            from otel_vtrack.transfer import parquet  # noqa: PLC0415 - pyarrow is an extra

            yield from parquet.read(Path(name))
        elif not head.lstrip()[:1] or head.lstrip()[:1] == b"{":
            yield from _lines(file, name)
        else:
            try:
                yield from _mapped(file)
            except WireError as error:
                raise WireError(f"{name}: {error}") from None


def _mapped(file: IO[bytes]) -> Iterator[Item]:
    """Read a file of frames that may be larger than memory, even in a single message."""
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for item in frames.read(memoryview(mapped), PIECE_BYTES):
        yield item
        # Pages that were read count as our memory until they are released.
        mapped.madvise(mmap.MADV_DONTNEED)


def _lines(file: IO[bytes], name: str) -> Iterator[Item]:
    number = 0
    reader = line_reader.Reader(PIECE_BYTES)
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if line.isspace():
            continue
        try:
            yield from reader.read(line)
        except WireError as error:
            raise WireError(f"{name}, line {number}: {error}") from None
    yield from reader.flush()
