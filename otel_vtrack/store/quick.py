"""Removes an overhead of clickhouse-connect that takes as long as reading a few rows."""

import functools
import sys
from typing import Any, Final

_STATEMENTS: Final = 256
_LOOK: Final = "_query_is_read_only"
_LOOKING: Final = ("clickhouse_connect.driver.client", "clickhouse_connect.driver._backendclient")


def remember_statements() -> None:
    """Make clickhouse-connect remember whether a statement only reads.

    To decide whether it may be retried over HTTP, the library scans the text word by word: 0.1 ms
    for a short one and 1.5 ms for a long one, each time, though values are bound and the same few
    statements recur.
    """
    for name in _LOOKING:
        # The function is private to the library; without it all works, but slower.
        module = sys.modules.get(name)
        look: Any = getattr(module, _LOOK, None)
        if look is not None and not hasattr(look, "cache_info"):
            setattr(module, _LOOK, functools.lru_cache(_STATEMENTS)(look))
