"""The metrics by which versions are compared: names, what they measure, and what is better."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from otel_vtrack.errors import InvalidArgument

DEFAULT: Final = ("latency", "error_rate", "tokens", "cost")
"""Metrics to compare where none is named."""
MOST: Final = 50
"""How many metrics one question may name."""

SMALLEST_RELATIVE_CHANGE: Final = 0.05
SMALLEST_POINTS: Final = 0.01


class Direction(IntEnum):
    """Which is better; numbers as in analysis.proto."""

    UNSPECIFIED = 0
    LESS = 1
    MORE = 2


class Shape(Enum):
    """What values are like, which determines how they are tested."""

    DURATION = "duration"
    """Skewed, with a tail that matters as well."""
    SUM = "sum"
    """What is paid for: the mean matters, as it determines the bill."""
    SCORE = "score"
    """Numbers of unknown distribution."""
    SHARE = "share"
    """Yes or no."""
    CATEGORY = "category"
    """One of several, in no order."""


class Unit(Enum):
    """What yields one value each."""

    TRACE = "trace"
    SPAN = "span"
    ASSESSMENT = "assessment"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        text: As given by the caller.
        kind: The part before the colon, or the whole.
        name: The part after it.
        shape: An assessment's depends on its values; SCORE until they are known.
        direction: Which is better.
        smallest_relative_change: The smallest change that matters, as a share of the baseline's.
        smallest_absolute_change: The same in the metric's unit. Without either, the shape decides.
    """

    text: str
    kind: str
    name: str
    shape: Shape
    unit: str
    measured: Unit
    direction: Direction
    smallest_relative_change: float | None = None
    smallest_absolute_change: float | None = None

    def smallest(self, shape: Shape) -> tuple[float | None, float | None]:
        """Return the smallest change that matters, relative or absolute; one of them is None."""
        if self.smallest_absolute_change is not None:
            return None, self.smallest_absolute_change
        if self.smallest_relative_change is not None:
            return self.smallest_relative_change, None
        if shape in {Shape.SHARE, Shape.CATEGORY}:
            return None, SMALLEST_POINTS
        return SMALLEST_RELATIVE_CHANGE, None


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """A metric as a caller requests it; analysis.proto explains each field."""

    metric: str
    direction: Direction = Direction.UNSPECIFIED
    smallest_relative_change: float | None = None
    smallest_absolute_change: float | None = None


_PLAIN: Final = {
    "latency": (Shape.DURATION, "ms", Unit.TRACE),
    "error_rate": (Shape.SHARE, "share", Unit.TRACE),
    "tokens": (Shape.SUM, "tokens", Unit.TRACE),
    "cost": (Shape.SUM, "USD", Unit.TRACE),
    "entry_latency": (Shape.DURATION, "ms", Unit.SPAN),
}
_NAMED: Final = {
    "span_latency": (Shape.DURATION, "ms", Unit.SPAN, Direction.LESS),
    "span_error_rate": (Shape.SHARE, "share", Unit.SPAN, Direction.LESS),
    "attribute": (Shape.SCORE, "", Unit.SPAN, Direction.UNSPECIFIED),
    "assessment": (Shape.SCORE, "", Unit.ASSESSMENT, Direction.MORE),
}
FORMS: Final = (
    *_PLAIN,
    "span_latency:NAME",
    "span_error_rate:NAME",
    "attribute:KEY",
    "assessment:NAME",
)
"""The forms of metric names."""


def parse(asked: MetricQuery) -> Metric:
    """Parse the name of a metric.

    Raises:
        InvalidArgument: There is no such metric, or its smallest change makes no sense.
    """
    kind, colon, name = asked.metric.partition(":")
    relative, absolute = asked.smallest_relative_change, asked.smallest_absolute_change
    if relative is not None and absolute is not None:
        raise InvalidArgument(
            f"{asked.metric}: give its smallest change either as a share or in its unit, not both"
        )
    for given in (relative, absolute):
        if given is not None and not 0 < given < float("inf"):
            raise InvalidArgument(f"{asked.metric}: its smallest change must be above 0")
    if kind in _PLAIN and not colon:
        shape, unit, measured = _PLAIN[kind]
        direction = Direction.LESS
    elif kind in _NAMED and name:
        shape, unit, measured, direction = _NAMED[kind]
    else:
        raise _unknown(asked.metric)
    if shape is Shape.SHARE and relative is not None:
        raise InvalidArgument(
            f"{asked.metric}: its smallest change must be a difference: write points"
        )
    return Metric(
        asked.metric,
        kind,
        name,
        shape,
        unit,
        measured,
        asked.direction or direction,
        relative,
        absolute,
    )


def parse_all(asked: Iterable[MetricQuery]) -> list[Metric]:
    """Parse the metrics of one question.

    Raises:
        InvalidArgument: As for `parse`; or one is asked for twice, or there are too many.
    """
    found = [parse(each) for each in asked]
    names = [each.text for each in found]
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise InvalidArgument(f"metric {twice} is given twice: leave one out")
    if len(found) > MOST:
        raise InvalidArgument(f"give {MOST} metrics at most")
    return found


def _unknown(text: str) -> InvalidArgument:
    kind, _, name = text.partition(":")
    if kind in _NAMED and not name:
        return InvalidArgument(f"{text or 'a metric'} has no name: write {kind}:NAME")
    if kind in _PLAIN:
        return InvalidArgument(f"there is no metric {text}: write {kind}")
    near = difflib.get_close_matches(kind, [*_PLAIN, *_NAMED], n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    return InvalidArgument(f"there is no metric {text or '(empty)'}: {hint} {', '.join(FORMS)}")
