"""Distinguish measured attributes from those that name something, and test their means.

Tokens, bytes and scores have nearly as many values as there are spans, and a single value says
nothing. So their means per trace are compared; as everywhere, traces of one session or time window
count as dependent.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis.differences import Averages
from otel_vtrack.analysis.inference import compare
from otel_vtrack.analysis.inference.contrast import FEWEST_CLUSTERS
from otel_vtrack.analysis.inference.tested import Tested

MOST_VALUES: Final = 20
"""A numeric attribute with at most this many values uses them as names, like status codes; the
query `analysis/differences` counts up to one more."""

_Numbers = npt.NDArray[np.int64]
_Reals = npt.NDArray[np.float64]

_NO_AMOUNT: Final = re.compile(
    r"(?:^|[._])(?:id|pid|port|line|lineno|number|offset|seed|hash|code)$", re.IGNORECASE
)
_A_SECOND: Final = 1.0, 1e3, 1e6, 1e9
"""Units in which times since 1970 are given, as how many a second has."""
_YEAR: Final = 366 * 86_400


def is_measured(row: dict[str, Any]) -> bool:
    """Return whether a row is an attribute with too many values to list each."""
    return row["kind"] == "NUMBER" and row["distinct_count"] > MOST_VALUES


def is_number(text: str) -> bool:
    """Return whether a value is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_amount(key: str, values: _Reals, minutes: _Numbers) -> bool:
    """Return whether means are meaningful: not for ids, nor for times, which only grow.

    Args:
        key: Name of the attribute.
        values: One per trace.
        minutes: When the traces began, in minutes since 1970.
    """
    if _NO_AMOUNT.search(key):
        return False
    return not any((np.abs(values / unit - minutes * 60) < _YEAR).all() for unit in _A_SECOND)


def test(
    values: _Reals, is_candidate: _Numbers, labels: Sequence[_Numbers], weights: _Reals
) -> tuple[Tested, _Numbers] | None:
    """Test the difference of means with each clustering; return the least certain, and its labels.

    Return None where there are too few clusters.
    """
    found: list[tuple[Tested, _Numbers]] = []
    for each in labels:
        fewest = min(len(np.unique(each[is_candidate == side])) for side in (0, 1))
        tested = compare.means(values, is_candidate, each, weights=weights)
        if fewest < FEWEST_CLUSTERS or tested.p_value is None:
            return None
        found.append((tested, each))
    return max(found, key=lambda each: each[0].p_value or 0.0)


def averages(values: _Reals, is_candidate: _Numbers, labels: _Numbers, weights: _Reals) -> Averages:
    """Return what was measured of each version; `labels` are the clusters of the test."""
    baseline, candidate = (
        (values[is_candidate == side], weights[is_candidate == side]) for side in (0, 1)
    )
    relative = compare.ratio_of_means(values, is_candidate, labels, weights=weights)
    return Averages(
        baseline_mean=float(np.average(baseline[0], weights=baseline[1])),
        candidate_mean=float(np.average(candidate[0], weights=candidate[1])),
        baseline_median=_median(*baseline),
        candidate_median=_median(*candidate),
        relative_difference=relative.estimate,
    )


def _median(values: _Reals, weights: _Reals) -> float:
    """Return the value with as much weight below as above, or the midpoint of two."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    half = reached[-1] / 2
    first, last = np.searchsorted(reached, half), np.searchsorted(reached, half, side="right")
    return float((values[order[first]] + values[order[min(last, len(order) - 1)]]) / 2)
