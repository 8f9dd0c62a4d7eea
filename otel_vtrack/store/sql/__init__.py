"""Reads the SQL files: a migration is a list of statements, a mapping a view, a query one file."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

# A plain path and not importlib.resources: the embedded engine opens the schema by its path.
_HERE: Final = Path(__file__).parent
_MARKED: Final = re.compile(r"/\*\?(\w+)\*/(.*?)/\*\1\?\*/", re.DOTALL)
_COMMENT: Final = re.compile(r"^ *--.*\n|(?<=\s)--.*", re.MULTILINE)


@cache
def names(kind: str) -> tuple[str, ...]:
    """List a kind's files, sorted; a kind is `migrations`, `mapping`, `queries` or `deletions`.

    A name omits the folder of the kind and the extension: `0003_create_spans`, `traces/search`.
    """
    folder = _HERE / kind
    found = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.sql"))
    return tuple(sorted(path.as_posix() for path in found))


@cache
def text(kind: str, name: str) -> str:
    """Read one file.

    A query is returned without its comments and final semicolon.

    Raises:
        FileNotFoundError: There is no such file; `names` lists those there are.
    """
    read = (_HERE / kind / f"{name}.sql").read_text(encoding="utf-8")
    if kind != "queries":
        return read
    # Binding parameters scans the text character by character: 2 ms per query for the comments. A
    # semicolon, if there is one, is searched for word by word: up to 1 ms.
    return _COMMENT.sub("", read).rstrip().removesuffix(";")


def filled(statement: str, parts: Mapping[str, str]) -> str:
    """Insert parts of SQL into a query, at the places marked for them.

    `/*?where*/ 1 /*where?*/` is replaced by the part `where`. Without that part its content
    stays, so that the file runs as it is. A part contains no values of a caller: these are bound.
    """
    return _MARKED.sub(
        lambda found: (
            parts[found[1]] if found[1] in parts else f" {filled(found[2], parts).strip()} "
        ),
        statement,
    )


@cache
def part(query: str, name: str) -> str:
    """Return the default content of a marked place in a query, for use elsewhere."""
    return next(each[2] for each in _MARKED.finditer(text("queries", query)) if each[1] == name)


@cache
def view_proto() -> str:
    """Read `otlp_view.proto`, the schema by which the engine reads OTLP."""
    return (_HERE / "otlp_view.proto").read_text(encoding="utf-8")


@cache
def view_proto_path() -> str:
    """Return the path of `otlp_view.proto`: the embedded engine reads schemas from files."""
    return str(_HERE / "otlp_view.proto")


@cache
def export_proto() -> str:
    """Read `otlp_export.proto`, the schema by which the engine writes OTLP."""
    return (_HERE / "otlp_export.proto").read_text(encoding="utf-8")


@cache
def export_proto_path() -> str:
    """Return the path of `otlp_export.proto`; see `view_proto_path`."""
    return str(_HERE / "otlp_export.proto")
