"""Shares of traces, where those of one user or session do not count as independent."""

import numpy as np

from otel_vtrack.analysis.inference.shares import wilson
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.query.flags import Numbers


def design_effect(clusters: Numbers, weights: Numbers | None = None) -> float:
    """Return by how much traces say less than as many independent ones, at worst; from 1 up.

    That is where all traces of a cluster see the same variant: the mean size of a trace's cluster
    (L. Kish, Survey Sampling (1965), 5.4), where a trace with a weight counts as so many.
    """
    if not len(clusters):
        return 1.0
    sizes = np.bincount(np.unique(clusters, return_inverse=True)[1], weights)
    return float((sizes**2).sum() / sizes.sum())


def share(count: float, total: float, effect: float) -> Estimate:
    """Estimate a share by Wilson's interval with the effective number of traces, of some."""
    return wilson(count / total, total / effect)
