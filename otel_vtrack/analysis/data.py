"""The units of a metric as tests take them, and what may be held equal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis.inference.tested import Tested
from otel_vtrack.analysis.units import Units

Floats = NDArray[np.float64]
Labels = Callable[[int], dict[str, str]]
"""Names what is equal within a stratum."""


@dataclass(frozen=True, slots=True)
class Strata:
    """What is to be held equal.

    Attributes:
        dimensions: Which.
        codes: Of each unit, from 0.
        labels: Names a stratum.
        decides: Whether the verdict is by this.
    """

    dimensions: tuple[str, ...]
    codes: NDArray[np.int64]
    labels: Labels
    decides: bool


@dataclass(frozen=True, slots=True)
class Data:
    """The units of a metric as tests take them.

    Attributes:
        weights: How many of the population each stands for; None where that is one each.
    """

    values: Floats
    sides: NDArray[np.bool_]
    clusters: NDArray[np.int64]
    weights: Floats | None = None

    def where(self, chosen: NDArray[Any]) -> "Data":
        """Return some of them."""
        weights = None if self.weights is None else self.weights[chosen]
        return Data(self.values[chosen], self.sides[chosen], self.clusters[chosen], weights)

    @property
    def by_side(self) -> "tuple[Data, Data]":
        """The baseline's and the candidate's."""
        return self.where(~self.sides), self.where(self.sides)

    def mean(self) -> float:
        """Return what it is on average in the population."""
        return float(np.average(self.values, weights=self.weights))

    @property
    def cluster_counts(self) -> tuple[int, int]:
        """Of the baseline and of the candidate; one with turns of both counts for both."""
        first, second = (
            int(np.count_nonzero(np.bincount(self.clusters[side])))
            for side in (~self.sides, self.sides)
        )
        return first, second

    def test(
        self, how: Callable[..., Tested], strata: NDArray[Any] | None = None, values: Any = None
    ) -> Tested:
        """Run a test over all."""
        given = self.values if values is None else values
        return how(given, self.sides, self.clusters, strata, self.weights)


def data_of(units: Units) -> Data:
    """Number the clusters of units."""
    _, clusters = np.unique(units.rows["cluster"], return_inverse=True)
    return Data(
        np.ascontiguousarray(units.values),
        units.is_candidate,
        clusters.astype(np.int64),
        units.weights,
    )
