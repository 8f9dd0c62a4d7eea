"""What goes from a server to a file and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from otel_vtrack.v1 import export_pb2

SPANS: Final = "spans"
LOG_RECORDS: Final = "log_records"
CHANGES: Final = "changes"


class Telemetry(NamedTuple):
    """Spans or log records of one experiment.

    Attributes:
        signal: SPANS or LOG_RECORDS.
        experiment: What telemetry calls it; empty for what the resource says.
        otlp: TracesData or LogsData, serialized.
        items: How many are in it.
        adjusted_count: How many spans each one stands for; 0 where nobody says.
    """

    signal: str
    experiment: str
    otlp: bytes
    items: int
    adjusted_count: float = 0.0


class Changes(NamedTuple):
    """What people wrote."""

    changes: list[export_pb2.Change]


Item: TypeAlias = Telemetry | Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """What to export: all that is given must hold, and what is left out does not restrict.

    Attributes:
        experiment: What telemetry or people call it.
        since: Spans and traces that start, or records logged, then or later.
        until: Those before.
        filter: Of traces that this finds, in the search language.
    """

    experiment: str = ""
    since: datetime | None = None
    until: datetime | None = None
    filter: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for a state file."""
        return {name: str(value or "") for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, str]) -> "What":
        """Read what `as_json` returned."""
        since, until = (
            datetime.fromisoformat(told[name]) if told[name] else None
            for name in ("since", "until")
        )
        return cls(experiment=told["experiment"], since=since, until=until, filter=told["filter"])


@dataclass(slots=True)
class Counts:
    """How much was moved.

    Attributes:
        bytes: Of telemetry, as OTLP.
        rejected: Spans and records that the server did not take.
    """

    spans: int = 0
    log_records: int = 0
    changes: int = 0
    bytes: int = 0
    rejected: int = 0

    def add(self, item: Item) -> None:
        """Count an item."""
        if isinstance(item, Changes):
            self.changes += len(item.changes)
            return
        self.bytes += len(item.otlp)
        if item.signal == SPANS:
            self.spans += item.items
        else:
            self.log_records += item.items
