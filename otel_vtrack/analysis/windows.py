"""Choose windows of time, so that a sample can be read from few places.

A store orders spans by the minute in which they began, then by trace. A sample of traces from the
whole time is read from everywhere, one from windows only from there. The price is that an event in
a window affects many traces of the sample at once, so users of the sample treat windows as clusters
(W. G. Cochran, Sampling Techniques, 3rd ed., 9 and 9A).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

WINDOWS: Final = 50
"""Target number of windows, if available; fewer say little about the variance between them."""
_WIDTHS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440)
_PASSED_OVER: Final = 30
"""Most traces of other versions to skip for each that is taken."""
_SCATTERED: Final = 7
"""A rarer version's sample shrinks by up to this factor, since each trace costs a read."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Windows, and which traces in them.

    Attributes:
        width: Length of a window in minutes.
        windows: Their numbers: minutes since 1970, divided by `width`.
        share: Share of the traces that began in each minute to take; 1 for all.
        is_sample: Whether any trace was left out.
    """

    width: int
    windows: list[int]
    share: float
    is_sample: bool


def choose(
    minutes: Sequence[int], counts: Sequence[int], totals: Sequence[int], limit: int
) -> Chosen:
    """Choose windows among the minutes in which a version had traces; deterministic.

    Each trace is equally likely to be in the sample. Versions that were live at the same time and
    had about as many traces get the same windows.

    Args:
        minutes: Minutes since 1970 in which the version had traces.
        counts: How many of its traces began in each.
        totals: How many traces of any version began in each.
        limit: About how many traces to choose.
    """
    at, count, total = (np.asarray(each, dtype=np.int64) for each in (minutes, counts, totals))
    # Any width will do: all windows are read.
    everything = Chosen(1440, np.unique(at // 1440).tolist(), 1.0, False)
    if count.sum() <= limit:
        return everything
    reach = _PASSED_OVER * limit * count.sum() / max(1, total.sum())
    wanted = min(limit, max(math.ceil(limit / _SCATTERED), math.ceil(reach)))
    width = next(
        (
            width
            for width in _WIDTHS
            if count.sum() / len(np.unique(at // width)) * WINDOWS >= wanted
        ),
        _WIDTHS[-1],
    )
    windows, which = np.unique(at // width, return_inverse=True)
    held = np.bincount(which, weights=count)
    order = np.argsort(_shuffled(windows * width), kind="stable")
    # Take windows until there are enough windows and enough traces.
    before = np.concatenate(([0], np.cumsum(held[order])[:-1]))
    taken = order[(before < wanted) | (np.arange(len(order)) < WINDOWS)]
    return Chosen(
        width,
        np.sort(windows[taken]).tolist(),
        min(1.0, wanted / float(held[taken].sum())),
        True,
    )


def _shuffled(numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "np.ndarray":
    """Hash by SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
