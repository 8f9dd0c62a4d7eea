"""Reads the SQL files: one statement list a migration, one view a mapping, one query a file."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

# A plain path and not importlib.resources: the embedded engine opens the schema by name.
_HERE: Final = Path(__file__).parent
_MARKED: Final = re.compile(r"/\*\?(\w+)\*/(.*?)/\*\1\?\*/", re.DOTALL)
_COMMENT: Final = re.compile(r"^ *--.*\n|(?<=\s)--.*", re.MULTILINE)


@cache
def names(kind: str) -> tuple[str, ...]:
    """List the files of a kind, sorted; `kind` is `migrations`, `mapping` or `queries`.

    A name has neither folder nor ending: `0003_create_spans`, `traces/search`.
    """
    folder = _HERE / kind
    found = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.sql"))
    return tuple(sorted(path.as_posix() for path in found))


@cache
def text(kind: str, name: str) -> str:
    """Read one file.

    A query comes without its comments and the semicolon at its end.

    Raises:
        FileNotFoundError: No such file; `names` has those there are.
    """
    read = (_HERE / kind / f"{name}.sql").read_text(encoding="utf-8")
    if kind != "queries":
        return read
    # Binding parameters goes through the text letter by letter: 2 ms a query for the comments. And
    # a semicolon is looked for word by word, if there is one: up to 1 ms.
    return _COMMENT.sub("", read).rstrip().removesuffix(";")


def filled(statement: str, parts: Mapping[str, str]) -> str:
    """Put parts of SQL into a query, at the places marked for them.

    `/*?where*/ 1 /*where?*/` is replaced by the part `where`; what stands there stays if it has
    none, so that the file runs as it is. A part holds no value of a caller's: these are bound.
    """
    return _MARKED.sub(
        lambda found: (
            parts[found[1]] if found[1] in parts else f" {filled(found[2], parts).strip()} "
        ),
        statement,
    )


@cache
def part(query: str, name: str) -> str:
    """Return what stands in a query at the place marked for a part, for use elsewhere."""
    return next(each[2] for each in _MARKED.finditer(text("queries", query)) if each[1] == name)


@cache
def view_proto() -> str:
    """Read `otlp_view.proto`, the schema by which the engine reads OTLP."""
    return (_HERE / "otlp_view.proto").read_text(encoding="utf-8")


@cache
def view_proto_path() -> str:
    """Path of `otlp_view.proto`, for the embedded engine, which reads schemas from files."""
    return str(_HERE / "otlp_view.proto")


@cache
def export_proto() -> str:
    """Read `otlp_export.proto`, the schema by which the engine writes OTLP."""
    return (_HERE / "otlp_export.proto").read_text(encoding="utf-8")


@cache
def export_proto_path() -> str:
    """Path of `otlp_export.proto`; see `view_proto_path`."""
    return str(_HERE / "otlp_export.proto")
