"""Placements: the share of the other side that lies below each value."""

import numpy as np

from otel_vtrack.analysis.inference.contrast import Floats, Units, compact


def placements(values: Floats, of: Units) -> Floats:
    """Return for each value the share of the other side in its stratum that lies below it.

    Ties count half, and each value counts by its weight. 0 in strata with one side only.
    """
    _, codes = np.unique(values, return_inverse=True)
    # Ordered by stratum, then by value, so that one cumulative sum serves all strata.
    keys = of.strata * (int(codes.max()) + 1) + codes if len(codes) else codes
    keys, count = compact(keys)
    below = np.empty(len(values))
    for side, others in (
        (of.is_candidate, of.baselines),
        (~of.is_candidate, of.candidates),
    ):
        weights = None if of.weights is None else of.weights[~side]
        counts = np.bincount(keys[~side], weights, count)
        # For each key, the other side's weight up to its middle, minus that of earlier strata.
        up_to = np.cumsum(counts) - counts / 2
        before = np.concatenate(([0.0], np.cumsum(others)[:-1]))
        strata = of.strata[side]
        below[side] = np.divide(
            up_to[keys[side]] - before[strata],
            others[strata],
            out=np.zeros(len(strata)),
            where=others[strata] > 0,
        )
    return below
