"""Finds experiments, by what telemetry calls them and by what people do."""

import threading
import time
import weakref
from typing import Final, NamedTuple

from otel_vtrack.store.client import Store

_FRESH_SECONDS: Final = 2.0
"""How long another process's renaming may go unnoticed."""


class _Renamed(NamedTuple):
    until: float
    by_name: dict[str, str]


_lock = threading.Lock()
_known: weakref.WeakKeyDictionary[Store, _Renamed] = weakref.WeakKeyDictionary()


def resolve(store: Store, text: str, *, fresh: bool = False) -> str:
    """Return what telemetry calls the experiment that people call `text`.

    That is `text` itself unless an experiment was renamed to it. Empty stays empty. What this
    process renames is known at once, what others rename within two seconds.

    Args:
        store: Where to look.
        text: Either of both.
        fresh: Whether what others renamed must be known at once.
    """
    if not text:
        return ""
    with _lock:
        known = _known.get(store)
    if fresh or known is None or known.until < time.monotonic():
        until = time.monotonic() + _FRESH_SECONDS
        rows = store.query("experiments/renamed")
        known = _Renamed(until, {row["name"]: row["experiment"] for row in rows})
        with _lock:
            _known[store] = known
    return known.by_name.get(text, text)


def forget_names(store: Store) -> None:
    """Make the next `resolve` look: an experiment was renamed or deleted."""
    with _lock:
        _known.pop(store, None)
