"""A metric's units as the tests take them, and the strata to hold constant."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis.inference.tested import Tested
from otel_vtrack.analysis.units import Design, Units

Floats = NDArray[np.float64]
Labels = Callable[[int], dict[str, str]]
"""Names the values that the units of a stratum share, by dimension."""


@dataclass(frozen=True, slots=True)
class Strata:
    """What is held constant.

    Attributes:
        dimensions: Which ones.
        codes: The stratum of each unit, from 0.
        labels: Names a stratum.
        decides: Whether the verdict is based on the stratified test.
    """

    dimensions: tuple[str, ...]
    codes: NDArray[np.int64]
    labels: Labels
    decides: bool


@dataclass(frozen=True)
class Data:
    """A metric's units as the tests take them.

    Attributes:
        values: What was measured.
        design: The version and cluster of each unit.
    """

    values: Floats
    design: Design

    @property
    def sides(self) -> NDArray[np.bool_]:
        """Which units are the candidate's."""
        return self.design.sides

    @property
    def clusters(self) -> NDArray[np.int64]:
        """The cluster of each unit."""
        return self.design.clusters

    @property
    def weights(self) -> Floats | None:
        """How many members of the population each unit stands for; None if one each."""
        return self.design.weights

    def where(self, chosen: NDArray[Any]) -> "Data":
        """Select units by mask or indices."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return Data(self.values[places], self.design.at(places))

    @cached_property
    def by_side(self) -> "tuple[Data, Data]":
        """The baseline's units and the candidate's."""
        first, second = (
            Data(self.values[places], design)
            for places, design in zip(self.design.places, self.design.by_side, strict=True)
        )
        return first, second

    def mean(self) -> float:
        """Return the mean in the population."""
        return float(np.average(self.values, weights=self.weights))

    @property
    def cluster_counts(self) -> tuple[int, int]:
        """The baseline's and the candidate's; a cluster with units of both counts for both."""
        first, second = (
            int(np.count_nonzero(np.bincount(side.clusters))) for side in self.design.by_side
        )
        return first, second

    def test(
        self, how: Callable[..., Tested], strata: NDArray[Any] | None = None, values: Any = None
    ) -> Tested:
        """Run a test on all units; without strata or other values, cache the result."""
        if strata is not None or values is not None:
            return self._test(how, strata, values)
        if how not in self._tested:
            self._tested[how] = self._test(how, None, None)
        return self._tested[how]

    @cached_property
    def _tested(self) -> dict[Callable[..., Tested], Tested]:
        return {}

    def _test(self, how: Callable[..., Tested], strata: NDArray[Any] | None, values: Any) -> Tested:
        given = self.values if values is None else values
        of = self.design.of(strata)
        return how(given, self.sides, self.clusters, strata, self.weights, of=of)


def data_of(units: Units) -> Data:
    """Return a metric's units as the tests take them."""
    return Data(np.ascontiguousarray(units.values), units.design)
