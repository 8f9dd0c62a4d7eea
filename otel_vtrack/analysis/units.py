"""What is compared, as arrays: traces, and what a metric measures in them."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis.inference import contrast
from otel_vtrack.analysis.metrics import Metric

FINISHED: Final = 2
"""Roots of finished traces have a lower rank."""

MANY_USERS: Final = 20.0
"""Fewest users of a version, effectively, by whom its traces are clustered, not by session."""

Rows = NDArray[Any]


# No slots, here and below, for the cached properties: several metrics share them.
@dataclass(frozen=True)
class Design:
    """The version of each unit and which units depend on each other, whatever was measured.

    Attributes:
        sides: Which units are the candidate's.
        clusters: The cluster of each unit.
        weights: How many members of the population each stands for; None if one each.
    """

    sides: NDArray[np.bool_]
    clusters: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def of(self, strata: NDArray[Any] | None = None) -> contrast.Units:
        """Return the same as contrasts need it, cached per array of strata."""
        # The array is kept, so that no other one can get its id.
        known = self._made.get(id(strata))
        if known is None:
            made = contrast.units(self.sides, self.clusters, strata, self.weights)
            known = self._made[id(strata)] = strata, made
        return known[1]

    @cached_property
    def _made(self) -> dict[int, tuple[NDArray[Any] | None, contrast.Units]]:
        return {}

    @cached_property
    def places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the baseline's units, and of the candidate's."""
        # Indices, since selecting by a mask takes ten times as long.
        return np.flatnonzero(~self.sides), np.flatnonzero(self.sides)

    @cached_property
    def by_side(self) -> "tuple[Design, Design]":
        """The baseline's units and the candidate's."""
        return self.at(self.places[0]), self.at(self.places[1])

    def at(self, places: NDArray[Any]) -> "Design":
        """Select units by index."""
        weights = None if self.weights is None else self.weights[places]
        return Design(self.sides[places], self.clusters[places], weights)


def design_of(rows: Rows, *, by_user: bool = True) -> Design:
    """Return the design of traces.

    Those of one user depend on each other, where there are enough users, else those of one session.
    """
    together = rows["cluster"]
    if by_user and _many_users(rows):
        together = np.where(rows["user"] != 0, rows["user"], together)
    _, clusters = np.unique(together, return_inverse=True)
    return Design(rows["side"] == 2, clusters.astype(np.int64), weights(rows))


def _many_users(rows: Rows) -> bool:
    """Return whether neither version has too few users, or hardly any but one that many share.

    They count as as many users of equally many traces as would say as much: L. Kish, Survey
    Sampling (1965), 11.7.
    """
    known = rows["user"] != 0
    if not known.any():
        return False
    for side in (1, 2):
        _, sizes = np.unique(rows["user"][known & (rows["side"] == side)], return_counts=True)
        if len(sizes) and float(sizes.sum()) ** 2 / float((sizes**2).sum()) < MANY_USERS:
            return False
    return True


@dataclass(frozen=True)
class Traces:
    """Traces, sorted by hash.

    Attributes:
        rows: With the columns of `analysis/traces`.
        one_in: For each version, the n of its 1-in-n sample.
        partial: Hashes of traces that have several rows in the table; may include others.
    """

    rows: Rows
    one_in: tuple[int, int]
    partial: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    @cached_property
    def finished(self) -> Rows:
        """Traces with a finished root."""
        finished = self.rows["rank"] < FINISHED
        return self.rows if finished.all() else self.rows[np.flatnonzero(finished)]

    @cached_property
    def design(self) -> Design:
        """The design of the finished traces."""
        return design_of(self.finished)

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the index of each trace, and which traces are present."""
        known = self.rows["trace_hash"]
        if not len(known):
            return np.zeros(len(hashes), np.intp), np.zeros(len(hashes), np.bool_)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return at, known[at] == hashes


@dataclass(frozen=True)
class Units:
    """What a metric compares.

    Attributes:
        metric: With its actual shape.
        values: Numbers; 0 and 1 for shares, the `codes` of categories.
        rows: The trace of each value; for spans with their own version, service and environment.
        codes: Categories, numbered from 0.
        categories: Hashes of the categories.
        unpriced: Sides of traces left out because a model has no price, and these models.
        known_design: The design of `rows`, where it is shared.
    """

    metric: Metric
    values: NDArray[np.float64]
    rows: Rows
    codes: NDArray[np.intp] | None = None
    categories: NDArray[np.uint64] | None = None
    unpriced: tuple[NDArray[np.uint8], tuple[str, ...]] = (np.zeros(0, np.uint8), ())
    known_design: Design | None = None

    @cached_property
    def design(self) -> Design:
        """The version of each unit and which units depend on each other."""
        return self.known_design or design_of(self.rows)

    @property
    def is_candidate(self) -> NDArray[np.bool_]:
        """Which units are the candidate's."""
        return self.rows["side"] == 2

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How many members of the population each unit stands for; None if one each."""
        return weights(self.rows)

    def where(self, chosen: NDArray[Any]) -> "Units":
        """Select units by mask."""
        chosen = np.flatnonzero(chosen)
        return replace(
            self,
            values=self.values[chosen],
            rows=self.rows[chosen],
            codes=None if self.codes is None else self.codes[chosen],
            known_design=None,
        )


def weights(rows: Rows) -> NDArray[np.float64] | None:
    """Return how many members of the population traces stand for; None if one each."""
    counts = rows["adjusted_count"].astype(np.float64)
    return None if (counts == 1).all() else counts
