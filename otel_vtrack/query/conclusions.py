"""Derive from a span's attributes what mapping/spans_from_otlp.sql derives.

The table has the results in 17 columns, and reading those takes a third of the time of loading a
trace. The names and ranks come from that file; the rules that combine them are repeated here. If a
text is not plain, nothing is derived: the caller reads the engine's columns instead.
"""

import re
from functools import cache
from typing import Final, NamedTuple, TypeAlias

from otel_vtrack.query.rowbinary import as_text
from otel_vtrack.store import sql
from otel_vtrack.wire.attributes import Attributes

_LISTS: Final = re.compile(r"\(name -> transform\(name, \[([^]]*)\], \[([^]]*)\]::Array\(UInt16\)")
_NAME: Final = re.compile(r"'([^']+)'")
_PLAIN_COUNT: Final = re.compile(rb"[0-9]{1,19}")
_PAIR: Final = r'"([a-z_]+)": ?(0|[1-9][0-9]{0,17})'
_PLAIN_PAIR: Final = re.compile(_PAIR.encode())
_PLAIN_PAIRS: Final = re.compile(rf"\{{{_PAIR}(, ?{_PAIR})*\}}".encode())
_COMMIT_BYTES: Final = 12

# Roles of the mapping, as listed in its comment.
_VERSION: Final = 1
_WEAK_VERSION: Final = 2
_ENVIRONMENT: Final = 3
_DEPLOYMENT: Final = 4
_COMMIT: Final = 5
_BRANCH: Final = 6
_REPOSITORY: Final = 7
_DIRTY: Final = 8
_SESSION: Final = 9
_USER: Final = 10
_COUNTED: Final = 15
_MODEL: Final = 16
_PROVIDER: Final = 17
_COST: Final = 20
# Of arrays and maps only the tags of an image say anything.
_COMPOSED: Final = (5, 6)
_TAGS: Final = _WEAK_VERSION << 4 | 2
_KIND: Final = 21
"""Roles from here on describe the type of the span."""

_COUNTS: Final = (
    (11, b"input_tokens"),
    (12, b"output_tokens"),
    (13, b"total_tokens"),
    (18, b"cache_read_input_tokens"),
    (19, b"cache_creation_input_tokens"),
)

Told: TypeAlias = dict[int, tuple[int, bytes]]
"""By role, the best rank and the least text of that rank."""


class Said(NamedTuple):
    """What the mapping derived for a span: the columns of `spans` that are not from OTLP."""

    version: bytes
    environment: bytes
    deployment_id: bytes
    session_id: bytes
    user_id: bytes
    model: str
    provider: str
    cost: str
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation_input_tokens: int | None


class Concluded(NamedTuple):
    """All derived values, including those reported only for a trace's root."""

    said: Said
    git_commit: str
    git_branch: str
    git_dirty: str
    repository_url: str


def told_by(attributes: Attributes) -> Told:
    """Extract what attributes report, by their names."""
    codes = _codes()
    told: Told = {}
    for name, text, kind in zip(attributes.names, attributes.texts, attributes.kinds, strict=True):
        if text and (code := codes.get(name)) and (kind not in _COMPOSED or code == _TAGS):
            ranked = code, text
            role = code >> 4
            if role not in told or ranked < told[role]:
                told[role] = ranked
    return told


def of_span(attributes: Attributes, resource: Told) -> Concluded | None:
    """Derive the values of a span.

    Args:
        attributes: The span's attributes.
        resource: The result of `told_by` for its resource; the span's own attributes win.

    Returns:
        None if a text is not plain.
    """
    told = {**resource, **told_by(attributes)}
    texts = {role: text for role, (_, text) in told.items() if role < _KIND}
    say = texts.get
    commit = say(_COMMIT, b"")
    version = say(_VERSION, b"")
    if not version and (version := say(_WEAK_VERSION, b"")) and not _is_plain(version):
        return None
    counts = _counts(texts)
    if counts is None:
        return None
    said = Said(
        version or commit[:_COMMIT_BYTES],
        say(_ENVIRONMENT, b""),
        say(_DEPLOYMENT, b""),
        say(_SESSION, b""),
        say(_USER, b""),
        as_text(say(_MODEL, b"").strip(b'"')),
        as_text(say(_PROVIDER, b"").strip(b'"')),
        as_text(say(_COST, b"")),
        *counts,
    )
    git = (as_text(say(role, b"")) for role in (_COMMIT, _BRANCH, _DIRTY, _REPOSITORY))
    return Concluded(said, *git)


def _is_plain(text: bytes) -> bool:
    return text.isascii() and text.decode().isprintable()


def _counts(texts: dict[int, bytes]) -> list[int | None] | None:
    counted: dict[bytes, int] = {}
    if json := texts.get(_COUNTED):
        if not _PLAIN_PAIRS.fullmatch(json):
            return None
        pairs = _PLAIN_PAIR.findall(json)
        counted = {name: int(count) for name, count in pairs}
        if len(counted) < len(pairs):
            return None
    found: list[int | None] = []
    for role, name in _COUNTS:
        text = texts.get(role)
        if text is None:
            found.append(counted.get(name))
        elif _PLAIN_COUNT.fullmatch(text):
            found.append(int(text))
        else:
            return None
    return found


@cache
def _codes() -> dict[str, int]:
    [(names, codes)] = _LISTS.findall(sql.text("mapping", "spans_from_otlp"))
    return dict(zip(_NAME.findall(names), map(int, codes.split(",")), strict=True))
