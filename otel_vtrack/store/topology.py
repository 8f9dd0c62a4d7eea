"""Renders one set of SQL files for a single node or for a cluster.

A migration is plain single-node SQL. What only a cluster needs is inside ``/*@ ... */``: a
comment to a single node, SQL once `Topology.CLUSTER` renders it.

    CREATE TABLE spans/*@_local ON CLUSTER '{cluster}'*/ ( ... )
    ENGINE = /*@Replicated*/MergeTree

`'{cluster}'` is ClickHouse's own server macro; it stays as it is.
"""

import re
from enum import Enum
from typing import Final

_CLUSTER_ONLY: Final = re.compile(r"/\*@(.*?)\*/", re.DOTALL)
# A statement ends with a semicolon at the end of a line, even in a comment; others are harmless.
_END_OF_STATEMENT: Final = re.compile(r";[ \t]*(?:\n|\Z)")
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


class Topology(Enum):
    """Whether the tables are on a single node or across a cluster."""

    SINGLE = "single"
    CLUSTER = "cluster"

    def render(self, sql: str) -> list[str]:
        """Split a file into the statements for this topology, in order."""
        keep = r"\1" if self is Topology.CLUSTER else ""
        text = _CLUSTER_ONLY.sub(keep, sql)
        statements = (part.strip() for part in _END_OF_STATEMENT.split(text))
        return [statement for statement in statements if _COMMENT.sub("", statement).strip()]
