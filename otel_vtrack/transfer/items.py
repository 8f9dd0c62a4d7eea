"""The units of data that move between a server and files."""

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
        experiment: Its name in telemetry; empty to derive it from the resource.
        otlp: TracesData or LogsData, serialized.
        items: How many spans or records it contains.
        adjusted_count: How many spans each one stands for; 0 if unknown.
    """

    signal: str
    experiment: str
    otlp: bytes
    items: int
    adjusted_count: float = 0.0


class Changes(NamedTuple):
    """Recorded changes, such as assessments and tags."""

    changes: list[export_pb2.Change]


Item: TypeAlias = Telemetry | Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """What to export: all given conditions must hold; omitted ones do not restrict.

    Attributes:
        experiment: Its name, as telemetry sends it or as people renamed it.
        since: Only spans, and roots of traces, that start, or records logged, at or after this
            time.
        until: Only those before this time.
        filter: Only traces that match this filter in the search language.
    """

    experiment: str = ""
    since: datetime | None = None
    until: datetime | None = None
    filter: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON for a state file."""
        return {name: str(value or "") for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, str]) -> "What":
        """Read the result of `as_json`."""
        since, until = (
            datetime.fromisoformat(told[name]) if told[name] else None
            for name in ("since", "until")
        )
        return cls(experiment=told["experiment"], since=since, until=until, filter=told["filter"])


@dataclass(slots=True)
class Counts:
    """How much was moved.

    Attributes:
        bytes: Bytes of telemetry, as OTLP.
        rejected: Spans and records that the server rejected.
    """

    spans: int = 0
    log_records: int = 0
    changes: int = 0
    bytes: int = 0
    rejected: int = 0

    def add(self, item: Item) -> None:
        """Add an item to the counts."""
        if isinstance(item, Changes):
            self.changes += len(item.changes)
            return
        self.bytes += len(item.otlp)
        if item.signal == SPANS:
            self.spans += item.items
        else:
            self.log_records += item.items
