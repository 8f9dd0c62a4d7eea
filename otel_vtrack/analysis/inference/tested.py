"""The result of a test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otel_vtrack.analysis.inference import distributions
from otel_vtrack.analysis.inference.contrast import Contrast, Units, straightened
from otel_vtrack.analysis.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Tested:
    """The result of a test of two sides.

    Attributes:
        estimate: The effect with its interval; None if a side is empty (or no stratum has both),
            without bounds if a side has one cluster.
        standard_error: Of the estimate, on the scale of the test.
        statistic: The estimate in standard errors, or chi-square; None for exact tests of
            independent units, and where values differ only between the sides.
        p_value: Two-sided; None where there is too little data to estimate the error.
        freedom: Degrees of freedom of Student's, chi-square's or F's distribution; None for the
            normal one and exact tests of independent units.
        test: Its name; "" if nothing was tested.
    """

    estimate: Estimate | None
    standard_error: float | None
    statistic: float | None
    p_value: float | None
    freedom: float | None
    test: str


UNTESTED = Tested(None, None, None, None, None, "")


def named(independent: str, clustered: str, of: Units) -> str:
    """Return the name of a test for units like these."""
    name = independent if of.independent else clustered
    return name if of.weights is None else f"weighted {name}"


def apart(of: Units) -> float:
    """Return the probability that chance alone separates the sides completely, either way.

    Clusters are assigned to sides at random; if some have units of both, sides are assigned at
    random within each cluster.
    """
    candidates, baselines = clusters(of)
    total = of.cluster_count
    if candidates + baselines > total:
        return min(1.0, 2.0 ** (1 - total))
    log_ways = math.lgamma(total + 1) - math.lgamma(candidates + 1) - math.lgamma(baselines + 1)
    return min(1.0, 2 * math.exp(-log_ways))


def clusters(of: Units) -> tuple[int, int]:
    """Count the clusters of the candidate and of the baseline."""
    if of.independent:
        candidates = int(np.count_nonzero(of.is_candidate))
        return candidates, of.cluster_count - candidates
    present = np.zeros((2, of.cluster_count), np.bool_)
    present[of.is_candidate.astype(np.int64), of.clusters] = True
    return int(present[1].sum()), int(present[0].sum())


def student(
    value: float, found: Contrast, of: Sequence[Units], bend: float | None = None
) -> tuple[float | None, float | None]:
    """Test that an estimate is 0; return the statistic and the p-value.

    Args:
        value: The estimate.
        found: Its error and degrees of freedom.
        of: The units of each contrast that the estimate combines.
        bend: As in `contrast.straightened`.
    """
    if found.error is None:
        return None, None
    if found.error > 0:
        statistic = value / found.error
        straight = straightened(statistic, found.skewness, bend)
        return statistic, distributions.student_both(straight, found.freedom)
    if value == 0:
        return 0.0, 1.0
    return None, max(map(apart, of))
