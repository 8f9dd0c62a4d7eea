"""Where an export goes: files that can be cut back to where the last page ended."""

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
    """Takes items, and knows how to go on after a break."""

    def write(self, item: Item) -> None:
        """Take an item."""
        ...

    def commit(self, *, force: bool) -> dict[str, Any] | None:
        """Make safe what was written; return what `resume` needs to go on from here.

        None if this is no place to go on from, which it always is with `force`.
        """
        ...

    def resume(self, mark: dict[str, Any]) -> None:
        """Go back to where `commit` returned this."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class Lines:
    """One file of lines; `-`, which cannot be resumed, if there is no path."""

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
        """Bring it to the disk."""
        del force
        self._file.flush()
        if self._own:
            os.fsync(self._file.fileno())
            return {"size": self._file.tell()}
        return {}

    def resume(self, mark: dict[str, Any]) -> None:
        """Cut off what came later."""
        _cut(self._file, mark["size"])

    def close(self) -> None:
        """Close it, unless it is not ours."""
        if self._own:
            self._file.close()


class Frames:
    """A folder of OTLP messages, and of what people wrote as lines."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = (*FRAME_FILES.values(), CHANGES_FILE)
        self._files = {name: (folder / name).open("ab") for name in names}

    def write(self, item: Item) -> None:
        """Write a message, or lines."""
        if isinstance(item, Changes):
            for line in lines.of_entities(item):
                self._files[CHANGES_FILE].write(line.encode() + b"\n")
        else:
            self._files[FRAME_FILES[item.signal]].write(frames.write(item))

    def commit(self, *, force: bool) -> dict[str, Any] | None:
        """Bring all to the disk."""
        del force
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: file.tell() for name, file in self._files.items()}

    def resume(self, mark: dict[str, Any]) -> None:
        """Cut off what came later."""
        for name, file in self._files.items():
            _cut(file, mark[name])

    def close(self) -> None:
        """Close them."""
        for file in self._files.values():
            file.close()


def _cut(file: IO[bytes], size: int) -> None:
    file.truncate(size)
    # Where the file tells that it is, is not where it ends until something is written.
    file.seek(0, os.SEEK_END)


def open_sink(format: str, path: Path | None, out: IO[bytes]) -> Sink:  # noqa: A002 - its name
    """Open what a format is written to; it may hold an earlier part of the same export.

    Raises:
        InvalidArgument: There is no such format, it cannot go there, or needs what is missing.
    """
    match format:
        case "otlp-json":
            return Lines(path, out, lines.of_otlp)
        case "jsonl":
            return Lines(path, out, lines.of_entities)
        case "otlp" | "parquet" if path is None:
            raise InvalidArgument(
                f"{format} is more than one file: give a folder with --output, or choose otlp-json"
                " or jsonl"
            )
        case "otlp" if path is not None:
            return Frames(path)
        case "parquet" if path is not None:
            from otel_vtrack.transfer import parquet  # noqa: PLC0415 - pyarrow is an extra

            return parquet.Parts(path)
        case _:
            raise InvalidArgument(f"{format!r} is no format: choose {', '.join(FORMATS)}")


class State:
    """How far an export has come, in a file beside it that goes when it is done."""

    def __init__(self, output: Path) -> None:
        self._path = output.with_name(output.name + ".state")

    def load(self) -> dict[str, Any] | None:
        """Return what was saved; None if there is nothing to go on from."""
        try:
            return json.loads(self._path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            raise InvalidArgument(
                f"{self._path} does not say how far the export came: delete it and what was"
                " exported, and begin again"
            ) from None

    def save(self, state: dict[str, Any]) -> None:
        """Save it whole, or not at all."""
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def clear(self) -> None:
        """Say that the export is done."""
        self._path.unlink(missing_ok=True)
