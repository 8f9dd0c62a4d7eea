"""Finds when the shares of categories change in a sequence, with no word of when that may be."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from scipy import special, stats

from otel_vtrack.analysis.flags import shares
from otel_vtrack.query.flags import Numbers

ALPHA: Final = 0.05
SHORTEST: Final = 20
"""Fewest traces on either side of a change."""
LEAST: Final = 0.1
"""A change of shares by less than that is none worth telling, unless a category comes or goes."""
RARE: Final = 0.01
"""A category of a smaller share is as good as not there."""


@dataclass(frozen=True, slots=True)
class Break:
    """A change.

    Attributes:
        at: Where the new shares begin.
        p_value: The chance of a change so clear anywhere in its part of the sequence, if nothing
            changed there.
    """

    at: int
    p_value: float


def find(codes: Numbers, clusters: Numbers, *, tests: int = 1) -> list[Break]:
    """Return the changes in the order of the sequence.

    By binary segmentation: the sequence is divided where that is likeliest (G, the ratio of the
    likelihoods of two multinomial distributions and of one), if that is more than chance, and each
    part again (A. J. Scott and M. Knott, A cluster analysis method for grouping means in the
    analysis of variance, Biometrics 30 (1974)). G is divided by the design effect of clusters
    (J. N. K. Rao and A. J. Scott, The Annals of Statistics 12 (1984)), and its p-value multiplied
    by the number of places at which the sequence may be divided (Bonferroni), which is more than
    enough, for they are not independent.

    Args:
        codes: The category of each, from 0 up.
        clusters: Equal numbers depend on each other.
        tests: How many sequences are looked at, for which p-values are adjusted.
    """
    found: list[Break] = []
    waiting = [(0, len(codes))]
    while waiting:
        start, end = waiting.pop()
        best = _best(codes[start:end], clusters[start:end])
        if best is None or best.p_value * tests >= ALPHA:
            continue
        at = start + best.at
        found.append(Break(at, min(1.0, best.p_value * tests)))
        waiting += [(start, at), (at, end)]
    return _worth_telling(codes, sorted(found, key=lambda each: each.at))


def _best(codes: Numbers, clusters: Numbers) -> Break | None:
    """Return where a part is divided best; None if it is too short, or all alike."""
    count = len(codes)
    kinds, inverse = np.unique(codes, return_inverse=True)
    if count < 2 * SHORTEST or len(kinds) < 2:
        return None
    before = np.zeros((count - 2 * SHORTEST + 1, len(kinds)))
    for kind in range(len(kinds)):
        before[:, kind] = np.cumsum(inverse == kind)[SHORTEST - 1 : count - SHORTEST]
    whole = np.bincount(inverse).astype(float)
    sizes = np.arange(SHORTEST, count - SHORTEST + 1, dtype=float)
    fit = _fit(before, sizes) + _fit(whole - before, count - sizes)
    best = int(np.argmax(fit))
    gain = 2 * (fit[best] - float(_fit(whole[None], np.array([float(count)]))[0]))
    gain /= shares.design_effect(clusters)
    p_value = float(stats.chi2.sf(gain, len(kinds) - 1)) * len(sizes)
    return Break(SHORTEST + best, min(1.0, p_value))


def _fit(counts: Numbers, sizes: Numbers) -> Numbers:
    """Return the log likelihood of counts at their own shares."""
    return special.xlogy(counts, counts).sum(axis=1) - special.xlogy(sizes, sizes)


def _worth_telling(codes: Numbers, found: list[Break]) -> list[Break]:
    """Leave out changes that are too small, the smallest first, for others grow by that."""
    kept = list(found)
    while kept:
        edges = [0, *(each.at for each in kept), len(codes)]
        parts = [
            np.bincount(codes[start:end], minlength=int(codes.max()) + 1) / (end - start)
            for start, end in pairwise(edges)
        ]
        sizes = [_size(before, after) for before, after in pairwise(parts)]
        least = int(np.argmin(sizes))
        if sizes[least] >= LEAST:
            break
        del kept[least]
    return kept


def _size(before: Numbers, after: Numbers) -> float:
    """Return the greatest difference of shares; 1 where one that is not rare comes or goes."""
    gap = np.abs(after - before)
    rare = (np.minimum(before, after) == 0) & (np.maximum(before, after) >= RARE)
    return 1.0 if rare.any() else float(gap.max())
