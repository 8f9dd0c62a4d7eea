"""Metrics of traces as columns of values, their means, and differences of these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from otel_vtrack.analysis.inference import compare, estimate
from otel_vtrack.analysis.inference.compare import Tested
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.flags import Numbers, Sample

METRICS: Final = ("latency", "error_rate", "tokens")
ENOUGH: Final = 20
"""Fewest traces in each group from which anything is concluded, as in `analysis.compare`."""
_UNITS: Final = {"latency": "ms", "error_rate": "", "tokens": "tokens"}


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of traces; of those that have it."""

    metric: str
    values: Numbers
    known: Numbers

    @property
    def unit(self) -> str:
        """What it is counted in; empty of a share."""
        return _UNITS[self.metric]

    @property
    def is_share(self) -> bool:
        """Whether values are 0 and 1."""
        return self.metric == "error_rate"

    def mean(self, chosen: Numbers, clusters: Numbers) -> Estimate | None:
        """Estimate the mean, or share, of the chosen ones; None if there are none."""
        chosen = chosen & self.known
        if not chosen.any():
            return None
        if self.is_share:
            return estimate.proportion(self.values[chosen], clusters[chosen])
        return estimate.mean(self.values[chosen], clusters[chosen])

    def count(self, chosen: Numbers) -> int:
        """Count the chosen ones."""
        return int((chosen & self.known).sum())

    def enough(self, *sides: Numbers) -> bool:
        """Say whether each side has enough to conclude something."""
        return all(self.count(side) >= ENOUGH for side in sides)

    def difference(self, baseline: Numbers, candidate: Numbers, clusters: Numbers) -> Tested | None:
        """Test the difference of two groups, candidate minus baseline; None of too few."""
        if not self.enough(baseline, candidate):
            return None
        both = (baseline | candidate) & self.known
        test = compare.proportions if self.is_share else compare.means
        return test(self.values[both], candidate[both], clusters[both])

    def interaction(
        self, candidate: Numbers, group: Numbers, chosen: Numbers, clusters: Numbers
    ) -> Tested:
        """Test the difference of differences among the chosen ones: in the group minus outside."""
        chosen = chosen & self.known
        return compare.interaction(
            self.values[chosen], candidate[chosen], group[chosen], clusters[chosen]
        )


def wanted(metrics: Sequence[str]) -> list[str]:
    """Return the metrics that are asked for; all if none is.

    Raises:
        InvalidArgument: There is none of that name.
    """
    for each in metrics:
        if each not in METRICS:
            raise InvalidArgument(
                f"{each} is no metric that flags are compared by: choose from {', '.join(METRICS)}"
            )
    return [each for each in METRICS if each in metrics] or list(METRICS)


def of_sample(sample: Sample, metrics: Sequence[str], *, every: bool) -> list[Measured]:
    """Return metrics of all traces of a sample; of those that no trace has, only if `every`."""
    columns = [_measured(sample, metric) for metric in metrics]
    return [each for each in columns if every or each.known.any()]


def _measured(sample: Sample, metric: str) -> Measured:
    values = {
        "latency": sample.latencies,
        "error_rate": sample.failures.astype(float),
        "tokens": sample.tokens,
    }[metric]
    return Measured(metric, values, ~np.isnan(values))
