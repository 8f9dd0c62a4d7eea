"""Tells attributes that were measured from those that name something, and tests their means.

Tokens, bytes and scores have nearly as many values as there are spans, none of which says anything
by itself. So what they are on average in a trace is compared, and traces of one session or window
of time count as dependent on each other, as everywhere.
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
"""A numeric attribute of no more values names something with them, as status codes do; the query
`analysis/differences` counts one further."""

_Numbers = npt.NDArray[np.int64]
_Reals = npt.NDArray[np.float64]

_NO_AMOUNT: Final = re.compile(
    r"(?:^|[._])(?:id|pid|port|line|lineno|number|offset|seed|hash|code)$", re.IGNORECASE
)
_A_SECOND: Final = 1.0, 1e3, 1e6, 1e9
"""In the units that times since 1970 are told in."""
_YEAR: Final = 366 * 86_400


def is_measured(row: dict[str, Any]) -> bool:
    """Say whether a row is an attribute with too many values to tell each."""
    return row["kind"] == "NUMBER" and row["distinct_count"] > MOST_VALUES


def is_number(text: str) -> bool:
    """Say whether a value is one of a numeric attribute's."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_amount(key: str, values: _Reals, minutes: _Numbers) -> bool:
    """Say whether means of values tell anything: not of ids, and not of times, which only grow.

    Args:
        key: Name of the attribute.
        values: One a trace.
        minutes: When the traces began, in minutes since 1970.
    """
    if _NO_AMOUNT.search(key):
        return False
    return not any((np.abs(values / unit - minutes * 60) < _YEAR).all() for unit in _A_SECOND)


def test(
    values: _Reals, is_candidate: _Numbers, labels: Sequence[_Numbers], weights: _Reals
) -> tuple[Tested, _Numbers] | None:
    """Test the difference of means, by the clusters that leave it the least sure, and say by which.

    None where there are too few clusters.
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
    """Say what was measured of each version; `labels` are of the clusters tested by."""
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
    """Return the value with as much weight below as above; between two, their middle."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    half = reached[-1] / 2
    first, last = np.searchsorted(reached, half), np.searchsorted(reached, half, side="right")
    return float((values[order[first]] + values[order[min(last, len(order) - 1)]]) / 2)
