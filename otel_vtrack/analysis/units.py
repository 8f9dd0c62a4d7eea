"""What is compared, as arrays: traces, and what a metric measures of them."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis.metrics import Metric

FINISHED: Final = 2
"""Ranks of roots below are those of finished traces."""

Rows = NDArray[Any]


@dataclass(frozen=True, slots=True)
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

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where traces are, and which are there."""
        known = self.rows["trace_hash"]
        if not len(known):
            return np.zeros(len(hashes), np.intp), np.zeros(len(hashes), np.bool_)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return at, known[at] == hashes


@dataclass(frozen=True, slots=True)
class Units:
    """What is compared by a metric.

    Attributes:
        metric: With its true shape.
        values: Numbers; of shares 0 and 1, of categories their hashes as `codes` has them.
        rows: Of each value the trace it belongs to; of spans with their own version and place.
        codes: Of categories, as numbers from 0.
        categories: Their hashes.
        unpriced: Traces left out because a model has no price, and these models.
    """

    metric: Metric
    values: NDArray[np.float64]
    rows: Rows
    codes: NDArray[np.intp] | None = None
    categories: NDArray[np.uint64] | None = None
    unpriced: tuple[NDArray[np.uint8], tuple[str, ...]] = (np.zeros(0, np.uint8), ())

    @property
    def is_candidate(self) -> NDArray[np.bool_]:
        """Which are the candidate's."""
        return self.rows["side"] == 2

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How many of the population each stands for; None where that is one each."""
        return weights(self.rows)

    def where(self, chosen: NDArray[np.bool_]) -> "Units":
        """Return some of them."""
        return replace(
            self,
            values=self.values[chosen],
            rows=self.rows[chosen],
            codes=None if self.codes is None else self.codes[chosen],
        )


def weights(rows: Rows) -> NDArray[np.float64] | None:
    """Return how many of the population traces stand for; None where that is one each."""
    counts = rows["adjusted_count"].astype(np.float64)
    return None if (counts == 1).all() else counts
