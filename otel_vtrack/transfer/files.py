"""The outputs of an export: files that can be truncated to where the last page ended."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Protocol

from otel_vtrack.errors import InvalidArgument
from otel_vtrack.transfer import frames, lines
from otel_vtrack.transfer.items import LOG_RECORDS, SPANS, Changes, Item

FORMATS: Final = ("otlp", "otlp-json", "jsonl", "parquet")
CHANGES_FILE: Final = "changes.jsonl"
FRAME_FILES: Final = {SPANS: "spans.pb", LOG_RECORDS: "log_records.pb"}


class Sink(Protocol):
    """Accepts items, and can resume after an interruption."""

    def write(self, item: Item) -> None:
        """Write an item."""
        ...

    def commit(self, *, force: bool) -> dict[str, Any] | None:
        """Make what was written durable; return what `resume` needs to continue from here.

        Return None if it cannot continue from here; with `force` it always can.
        """
        ...

    def resume(self, mark: dict[str, Any]) -> None:
        """Go back to the state for which `commit` returned this mark."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class Lines:
    """A single file of lines; without a path, standard output, which cannot be resumed."""

    def __init__(
        self, path: Path | None, out: IO[bytes], of: Callable[[Item], Iterator[str]]
    ) -> None:
        self._file = path.open("ab") if path else out
        self._own = path is not None
        self._of = of

    def write(self, item: Item) -> None:
        """Write the lines of an item."""
        for line in self._of(item):
            self._file.write(line.encode() + b"\n")

    def commit(self, *, force: bool) -> dict[str, Any] | None:
        """Flush the file to disk."""
        del force
        self._file.flush()
        if self._own:
            os.fsync(self._file.fileno())
            return {"size": self._file.tell()}
        return {}

    def resume(self, mark: dict[str, Any]) -> None:
        """Truncate what was written later."""
        _cut(self._file, mark["size"])

    def close(self) -> None:
        """Close the file, unless it belongs to the caller."""
        if self._own:
            self._file.close()


class Frames:
    """A folder with files of OTLP messages, and a file of recorded changes as lines."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = (*FRAME_FILES.values(), CHANGES_FILE)
        self._files = {name: (folder / name).open("ab") for name in names}

    def write(self, item: Item) -> None:
        """Write a message, or the lines of changes."""
        if isinstance(item, Changes):
            for line in lines.of_entities(item):
                self._files[CHANGES_FILE].write(line.encode() + b"\n")
        else:
            self._files[FRAME_FILES[item.signal]].write(frames.write(item))

    def commit(self, *, force: bool) -> dict[str, Any] | None:
        """Flush all files to disk."""
        del force
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: file.tell() for name, file in self._files.items()}

    def resume(self, mark: dict[str, Any]) -> None:
        """Truncate what was written later."""
        for name, file in self._files.items():
            _cut(file, mark[name])

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _cut(file: IO[bytes], size: int) -> None:
    file.truncate(size)
    # After truncation, tell() does not return the end of the file until something is written.
    file.seek(0, os.SEEK_END)


def open_sink(format: str, path: Path | None, out: IO[bytes]) -> Sink:  # noqa: A002 - the usual name
    """Open the output for a format; it may contain an earlier part of the same export.

    Raises:
        InvalidArgument: The format is unknown, unsuitable for the path, or needs a missing package.
    """
    match format:
        case "otlp-json":
            return Lines(path, out, lines.of_otlp)
        case "jsonl":
            return Lines(path, out, lines.of_entities)
        case "otlp" | "parquet" if path is None:
            raise InvalidArgument(
                f"{format} writes more than one file: give a folder with --output, or choose"
                " otlp-json or jsonl"
            )
        case "otlp" if path is not None:
            return Frames(path)
        case "parquet" if path is not None:
            from otel_vtrack.transfer import parquet  # noqa: PLC0415 - pyarrow is an extra

            return parquet.Parts(path)
        case _:
            raise InvalidArgument(f"{format!r} is not a format: choose {', '.join(FORMATS)}")


class State:
    """The progress of an export, in a file beside it that is deleted on completion."""

    def __init__(self, output: Path) -> None:
        self._path = output.with_name(output.name + ".state")

    def load(self) -> dict[str, Any] | None:
        """Return what was saved; None if there is nothing to resume."""
        try:
            return json.loads(self._path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            raise InvalidArgument(
                f"{self._path} does not say how far the export got: delete it and what was"
                " exported, and start over"
            ) from None

    def save(self, state: dict[str, Any]) -> None:
        """Save the state atomically."""
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def clear(self) -> None:
        """Delete the state, because the export is complete."""
        self._path.unlink(missing_ok=True)
