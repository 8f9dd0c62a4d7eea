"""What is compared, as arrays: traces, and what a metric measures of them."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis.inference import contrast
from otel_vtrack.analysis.metrics import Metric

FINISHED: Final = 2
"""Ranks of roots below are those of finished traces."""

Rows = NDArray[Any]


# Without slots, as the next one: what several metrics need is worked out once.
@dataclass(frozen=True)
class Design:
    """Of which version units are and which depend on each other, whatever was measured of them.

    Attributes:
        sides: Which are the candidate's.
        clusters: Of which cluster each is.
        weights: How many of the population each stands for; None where that is one each.
    """

    sides: NDArray[np.bool_]
    clusters: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def of(self, strata: NDArray[Any] | None = None) -> contrast.Units:
        """Return the same as contrasts need it, made once for each array of strata."""
        # With the array, so that no other one gets its id.
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
        """Where the baseline's are, and the candidate's."""
        # Numbers, as all that is taken of some units is: by a mask it takes ten times as long.
        return np.flatnonzero(~self.sides), np.flatnonzero(self.sides)

    @cached_property
    def by_side(self) -> "tuple[Design, Design]":
        """The baseline's and the candidate's."""
        return self.at(self.places[0]), self.at(self.places[1])

    def at(self, places: NDArray[Any]) -> "Design":
        """Return some of them."""
        weights = None if self.weights is None else self.weights[places]
        return Design(self.sides[places], self.clusters[places], weights)


def design_of(rows: Rows) -> Design:
    """Number the clusters of traces."""
    _, clusters = np.unique(rows["cluster"], return_inverse=True)
    return Design(rows["side"] == 2, clusters.astype(np.int64), weights(rows))


@dataclass(frozen=True)
class Traces:
    """Traces by their hash, sorted.

    Attributes:
        rows: Of the columns of `analysis/traces`.
        one_in: One of how many was taken of each version.
        partial: Hashes of those that have several rows in the table, and of others.
    """

    rows: Rows
    one_in: tuple[int, int]
    partial: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    @cached_property
    def finished(self) -> Rows:
        """Those with a finished root."""
        finished = self.rows["rank"] < FINISHED
        return self.rows if finished.all() else self.rows[np.flatnonzero(finished)]

    @cached_property
    def design(self) -> Design:
        """Of those with a finished root."""
        return design_of(self.finished)

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where traces are, and which are there."""
        known = self.rows["trace_hash"]
        if not len(known):
            return np.zeros(len(hashes), np.intp), np.zeros(len(hashes), np.bool_)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return at, known[at] == hashes


@dataclass(frozen=True)
class Units:
    """What is compared by a metric.

    Attributes:
        metric: With its true shape.
        values: Numbers; of shares 0 and 1, of categories their hashes as `codes` has them.
        rows: Of each value the trace it belongs to; of spans with their own version and place.
        codes: Of categories, as numbers from 0.
        categories: Their hashes.
        unpriced: Traces left out because a model has no price, and these models.
        known_design: That of `rows`, where others have it as well.
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
        """Of which version they are, and what depends on each other."""
        return self.known_design or design_of(self.rows)

    @property
    def is_candidate(self) -> NDArray[np.bool_]:
        """Which are the candidate's."""
        return self.rows["side"] == 2

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How many of the population each stands for; None where that is one each."""
        return weights(self.rows)

    def where(self, chosen: NDArray[Any]) -> "Units":
        """Return some of them."""
        chosen = np.flatnonzero(chosen)
        return replace(
            self,
            values=self.values[chosen],
            rows=self.rows[chosen],
            codes=None if self.codes is None else self.codes[chosen],
            known_design=None,
        )


def weights(rows: Rows) -> NDArray[np.float64] | None:
    """Return how many of the population traces stand for; None where that is one each."""
    counts = rows["adjusted_count"].astype(np.float64)
    return None if (counts == 1).all() else counts
