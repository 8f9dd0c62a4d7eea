"""Spares statements that read a few rows what takes as long as to read these."""

import functools
import sys
from typing import Any, Final

_STATEMENTS: Final = 256
_LOOK: Final = "_query_is_read_only"
_LOOKING: Final = ("clickhouse_connect.driver.client", "clickhouse_connect.driver._backendclient")


def remember_statements() -> None:
    """Let clickhouse-connect remember of each statement whether it only reads.

    It goes through the text word by word to find out whether it may be sent again over HTTP: 0.1
    ms of a short one and 1.5 ms of a long one, each time, though values are bound and the same
    few statements come again and again.
    """
    for name in _LOOKING:
        # It is nothing that the library promises to have: without it all works, but slower.
        module = sys.modules.get(name)
        look: Any = getattr(module, _LOOK, None)
        if look is not None and not hasattr(look, "cache_info"):
            setattr(module, _LOOK, functools.lru_cache(_STATEMENTS)(look))
