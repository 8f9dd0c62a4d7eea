"""Reads the SQL files: one statement list a migration, one view a mapping, one query a file."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_HERE = files(__name__)


def _paths(folder: Traversable, prefix: str = "") -> list[str]:
    found: list[str] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _paths(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".sql"):
            found.append(prefix + entry.name.removesuffix(".sql"))
    return sorted(found)


@cache
def names(kind: str) -> tuple[str, ...]:
    """List the files of a kind, sorted; `kind` is `migrations`, `mapping` or `queries`.

    A name has neither folder nor ending: `0003_create_spans`, `traces/search`.
    """
    folder = _HERE / kind
    return tuple(_paths(folder)) if folder.is_dir() else ()


@cache
def text(kind: str, name: str) -> str:
    """Read one file.

    Raises:
        FileNotFoundError: No such file; `names` has those there are.
    """
    return (_HERE / kind / f"{name}.sql").read_text(encoding="utf-8")


@cache
def view_proto() -> str:
    """Read `otlp_view.proto`, the schema by which the engine reads OTLP."""
    return (_HERE / "otlp_view.proto").read_text(encoding="utf-8")


@cache
def view_proto_path() -> str:
    """Path of `otlp_view.proto`, for the embedded engine, which reads schemas from files."""
    return str(_HERE / "otlp_view.proto")
