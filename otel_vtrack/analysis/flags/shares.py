"""Shares of traces, where those of one user or session are not independent."""

import numpy as np

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.query.flags import Numbers


def design_effect(clusters: Numbers, weights: Numbers | None = None) -> float:
    """Return how many traces are worth one independent trace at worst; at least 1.

    At worst all traces of a cluster see the same variant. Then it is the size of a trace's cluster,
    averaged over traces (L. Kish, Survey Sampling (1965), 5.4), which count by their weights.
    """
    if not len(clusters):
        return 1.0
    sizes = np.bincount(np.unique(clusters, return_inverse=True)[1], weights)
    return float((sizes**2).sum() / sizes.sum())


def share(count: float, total: float, effect: float) -> Estimate:
    """Estimate a share with Wilson's interval and the effective number of traces."""
    return statistics.wilson(count / total, total / effect)
