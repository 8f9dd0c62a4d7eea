"""Find dimensions in which two versions' traces differ, and which of them to hold constant.

A version that got more of the slow routes is slower without being worse: E. H. Simpson, The
interpretation of interaction in contingency tables, Journal of the Royal Statistical Society B 13
(1951). What differs before a version begins to work may be held constant: the route, the user, the
place. The model may not, unless requested: the version chooses it, and the consequences are the
version's (P. R. Rosenbaum, The consequences of adjustment for a concomitant variable that has been
affected by the treatment, Journal of the Royal Statistical Society A 147, 1984).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis import units
from otel_vtrack.analysis.compare import Level, Mix
from otel_vtrack.analysis.data import Strata
from otel_vtrack.analysis.inference import compare as tests
from otel_vtrack.analysis.sample import DIMENSIONS, Source
from otel_vtrack.analysis.units import Design, Rows

NOTHING: Final = "none"
"""Request to hold nothing constant."""

_SURE: Final = 0.001
"""Significance level: five dimensions are tested, and holding one constant costs some power."""
_APART: Final = 0.05
"""Smallest Cramér's V. Below it, no dimension's mix can explain a change worth mentioning: were one
of two equal routes twice as slow as the other, it would shift the mean by 5 % at V = 0.075."""

_MOST_LEVELS: Final = 50
_SHOWN_LEVELS: Final = 10
_OTHERS: Final = "(others)"
_BEFORE: Final = frozenset({"route", "environment", "service", "user"})
_KNOWN_USERS: Final = 0.5
_SHARED_USERS: Final = 0.5


class Held(NamedTuple):
    """What to hold constant.

    Attributes:
        dimensions: Which ones.
        decides: Whether the verdict is based on the stratified test.
    """

    dimensions: tuple[str, ...]
    decides: bool

    def besides(self, names: Sequence[str]) -> "Held":
        """Return what is left where some dimensions are constant already."""
        return Held(tuple(each for each in self.dimensions if each not in names), self.decides)


@dataclass(frozen=True, slots=True)
class Dimension:
    """The values of traces in one dimension.

    Attributes:
        codes: The value of each trace, numbered from 0; rare values share one code.
        hashes: The value of each code; None for the rare ones.
    """

    name: str
    codes: NDArray[np.int64]
    hashes: tuple[int | None, ...]
    level_count: int


def dimension(source: Source, name: str, rows: Rows) -> Dimension:
    """Number the values of traces in a dimension, the most frequent first."""
    hashes, inverse, counts = np.unique(
        source.hashes(name, rows), return_inverse=True, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    codes = np.minimum(rank[inverse], _MOST_LEVELS)
    kept: list[int | None] = [int(each) for each in hashes[order[:_MOST_LEVELS]]]
    return Dimension(
        name,
        codes.astype(np.int64),
        tuple(kept + [None] * (len(order) > _MOST_LEVELS)),
        len(order),
    )


def mixes(source: Source, rows: Rows, design: Design) -> tuple[Mix, ...]:
    """Return the dimensions whose mix differs between versions, the most different first."""
    found: list[Mix] = []
    for name in DIMENSIONS:
        told, of = rows, design
        if name == "model" and not (asked := rows["model"] != 0).all():
            # A trace that failed before it called a model does not show which one it would have.
            places = np.flatnonzero(asked)
            told, of = rows[places], design.at(places)
        if not of.sides.any() or of.sides.all():
            continue
        if name == "user":
            if not _known_users(told, of.sides):
                continue
            # How often the same users came by chance is shown by their sessions.
            of = units.design_of(told, by_user=False)
        levels = dimension(source, name, told)
        if len(levels.hashes) < 2:
            continue
        tested = tests.mix(levels.codes, of.sides, of.clusters, of.weights, of=of.of())
        if tested.p_value is None or tested.cramers_v is None:
            continue
        if tested.p_value < _SURE and tested.cramers_v >= _APART:
            found.append(
                Mix(
                    name,
                    tested.p_value,
                    tested.cramers_v,
                    _levels(source, levels, told, of.sides),
                    levels.level_count,
                    *(_count(told["adjusted_count"][places]) for places in of.places),
                )
            )
    return tuple(sorted(found, key=lambda each: -each.cramers_v))


def _count(adjusted: NDArray[np.float32]) -> int:
    """Count traces by how many each stands for."""
    return round(float(adjusted.sum(dtype=np.float64)))


def _known_users(rows: Rows, sides: NDArray[np.bool_]) -> bool:
    known = rows["user"] != 0
    return all(float(known[side].mean()) >= _KNOWN_USERS for side in (sides, ~sides))


def _levels(
    source: Source, of: Dimension, rows: Rows, sides: NDArray[np.bool_]
) -> tuple[Level, ...]:
    weights = units.weights(rows)
    counts = [
        np.rint(
            np.bincount(of.codes[side], None if weights is None else weights[side], len(of.hashes))
        )
        for side in (~sides, sides)
    ]
    shown = [each for each in of.hashes[:_SHOWN_LEVELS] if each is not None]
    texts = source.texts(of.name, np.array(shown, np.uint64), rows)
    return tuple(
        Level(texts.get(value, ""), int(counts[0][code]), int(counts[1][code]))
        for code, value in enumerate(shown)
    )


def chosen(mix: Sequence[Mix], asked: Sequence[str], rows: Rows) -> Held:
    """Return what to hold constant.

    Args:
        mix: The dimensions whose mix differs between the versions.
        asked: What the caller wants to hold constant; empty lets the mix decide.
        rows: The traces.
    """
    if asked:
        return Held(tuple(each for each in asked if each != NOTHING), decides=True)
    differ = [each.dimension for each in mix]
    before = [name for name in differ if name in _BEFORE and (name != "user" or _shared(rows))]
    if before:
        return Held(tuple(name for name in DIMENSIONS if name in before), decides=True)
    return Held(("model",) if "model" in differ else (), decides=False)


def _shared(rows: Rows) -> bool:
    """Return whether most traces are of users of both versions, as needed to compare by user."""
    sides = rows["side"] == 2
    both = np.intersect1d(rows["user"][sides], rows["user"][~sides])
    both = both[both != 0]
    return bool(np.isin(rows["user"], both).mean() >= _SHARED_USERS)


def strata(source: Source, held: Held, rows: Rows) -> Strata | None:
    """Number the strata of what is held constant; None without dimensions or traces."""
    if not held.dimensions or not len(rows):
        return None
    found = [dimension(source, name, rows) for name in held.dimensions]
    codes = found[0].codes
    for of in found[1:]:
        codes = codes * len(of.hashes) + of.codes
    present, numbered = np.unique(codes, return_inverse=True)
    known: dict[str, dict[int, str]] = {}

    def labels(code: int) -> dict[str, str]:
        left = int(present[code])
        values: dict[str, str] = {}
        for of in reversed(found):
            left, level = divmod(left, len(of.hashes))
            value = of.hashes[level]
            if of.name not in known:
                every = np.array([each for each in of.hashes if each is not None], np.uint64)
                known[of.name] = source.texts(of.name, every, rows)
            values[of.name] = _OTHERS if value is None else known[of.name].get(value, "")
        return dict(reversed(values.items()))

    return Strata(held.dimensions, numbered.astype(np.int64), labels, held.decides)
