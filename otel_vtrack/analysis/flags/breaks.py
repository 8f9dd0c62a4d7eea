"""Find changes in the shares of categories in a sequence, at unknown positions."""

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
"""Smallest change of shares to report, unless a category appears or disappears."""
RARE: Final = 0.01
"""A category with a smaller share counts as absent."""


@dataclass(frozen=True, slots=True)
class Break:
    """A change.

    Attributes:
        at: Where the new shares begin.
        p_value: The probability of a change this clear anywhere in its part of the sequence, if
            nothing changed there.
    """

    at: int
    p_value: float


def find(codes: Numbers, clusters: Numbers, *, tests: int = 1) -> list[Break]:
    """Return the changes in the order of the sequence.

    By binary segmentation: the sequence is split at the likeliest place (by G, the likelihood ratio
    of two multinomial distributions to one) if that is significant, then each part likewise (A. J.
    Scott and M. Knott, A cluster analysis method for grouping means in the analysis of variance,
    Biometrics 30 (1974)). G is divided by the design effect of clusters (J. N. K. Rao and A. J.
    Scott, The Annals of Statistics 12 (1984)), and its p-value multiplied by the number of places
    where the sequence may be split (Bonferroni), which is conservative, as they are not
    independent.

    Args:
        codes: The category of each element, numbered from 0.
        clusters: Elements with equal numbers depend on each other.
        tests: Number of sequences tested, for which p-values are adjusted.
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
    """Return the best place to split a part; None if it is too short, or all equal."""
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
    """Return the maximum log likelihood of counts."""
    return special.xlogy(counts, counts).sum(axis=1) - special.xlogy(sizes, sizes)


def _worth_telling(codes: Numbers, found: list[Break]) -> list[Break]:
    """Drop changes that are too small, the smallest first, since others grow by that."""
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
    """Return the largest difference of shares; 1 if a category that is not rare comes or goes."""
    gap = np.abs(after - before)
    rare = (np.minimum(before, after) == 0) & (np.maximum(before, after) >= RARE)
    return 1.0 if rare.any() else float(gap.max())
