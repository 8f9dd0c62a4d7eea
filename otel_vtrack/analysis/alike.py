"""Compare like with like: within strata, and combined over all of them.

docs/comparison.md explains how strata are weighted, and why.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.compare import Stratified, Stratum
from otel_vtrack.analysis.data import Data, Floats, Strata
from otel_vtrack.analysis.inference import compare as tests
from otel_vtrack.analysis.inference.tested import Tested
from otel_vtrack.analysis.metrics import Shape
from otel_vtrack.analysis.statistics import Estimate

_MOST_STRATA: Final = 20
_MOST_COMPARED: Final = 200
_LEAST_IN_STRATUM: Final = 5


def main(data: Data, shape: Shape, strata: NDArray[Any] | None = None) -> Tested:
    """Run the test of the bulk that suits the shape."""
    how = {
        Shape.DURATION: tests.superiority,
        Shape.SCORE: tests.superiority,
        Shape.SUM: tests.means,
        Shape.SHARE: tests.proportions,
    }[shape]
    return data.test(how, strata)


def sides_of(data: Data, codes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the units of the baseline and of the candidate in each stratum."""
    count = int(codes.max()) + 1 if len(codes) else 0
    return (
        np.bincount(codes[~data.sides], minlength=count),
        np.bincount(codes[data.sides], minlength=count),
    )


def _populations(data: Data, codes: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the size of each stratum in the population, in the order of `sides_of`."""
    if data.weights is None:
        first, second = (each.astype(np.float64) for each in sides_of(data, codes))
        return first, second
    count = int(codes.max()) + 1 if len(codes) else 0
    first, second = (
        np.bincount(codes[side], data.weights[side], count).astype(np.float64)
        for side in (~data.sides, data.sides)
    )
    return first, second


def in_both(data: Data, codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which units are in a stratum that both versions have."""
    first, second = sides_of(data, codes)
    return ((first > 0) & (second > 0))[codes]


def weights(data: Data, codes: NDArray[Any]) -> Floats:
    """Return weights of the units that give both sides the same mix.

    Overlap weights: F. Li, K. L. Morgan and A. M. Zaslavsky, Balancing covariates via propensity
    score weighting, Journal of the American Statistical Association 113 (2018). The difference of
    weighted means is that of the regression with an intercept for each stratum.
    """
    first, second = _populations(data, codes)
    total = np.maximum(first + second, 1)
    found = np.where(data.sides, (first / total)[codes], (second / total)[codes])
    return found if data.weights is None else found * data.weights


def stratified(data: Data, shape: Shape, strata: Strata, crude: Tested) -> Stratified:
    """Compare within strata; `crude` is the unstratified test."""
    first, second = sides_of(data, strata.codes)
    both = (first > 0) & (second > 0)
    shared = both[strata.codes]
    overlap = float(shared.mean()) if len(shared) else 0.0
    within, codes = data.where(shared), strata.codes[shared]
    empty = not len(codes)
    tested = crude if empty else main(within, shape, codes)
    strata_found, heterogeneity = _each(data, shape, strata, first + second, both)
    return Stratified(
        dimensions=strata.dimensions,
        strata_count=int(both.sum()),
        overlap=overlap,
        difference=None if empty else _gap(within, shape, codes),
        change=None if empty else _relative(within, shape, codes),
        test="" if empty else tested.test,
        p_value=None if empty else tested.p_value,
        crude_p_value=crude.p_value,
        heterogeneity_p_value=heterogeneity,
        decides=strata.decides,
        strata=strata_found,
    )


def _gap(data: Data, shape: Shape, strata: NDArray[Any] | None) -> Estimate | None:
    how = tests.proportions if shape is Shape.SHARE else tests.means
    return data.test(how, strata).estimate


def _relative(data: Data, shape: Shape, strata: NDArray[Any]) -> Estimate | None:
    """Return the change within strata: of geometric means for durations, else of means."""
    if shape is Shape.DURATION and len(data.values) and float(data.values.min()) > 0:
        found = data.test(tests.means, strata, np.log(data.values)).estimate
        if found is None:
            return None
        return Estimate(
            math.expm1(found.value), statistics.expm1(found.lower), statistics.expm1(found.upper)
        )
    return data.test(tests.ratio_of_means, strata).estimate


def _each(
    data: Data,
    shape: Shape,
    strata: Strata,
    totals: NDArray[np.int64],
    both: NDArray[np.bool_],
) -> tuple[tuple[Stratum, ...], float | None]:
    """Compare within each stratum, and test whether the differences are the same in all."""
    by_size = np.argsort(-totals, kind="stable")
    by_size = by_size[totals[by_size] > 0][:_MOST_COMPARED]
    positive = shape is Shape.DURATION and bool(len(data.values)) and data.values.min() > 0
    order = np.argsort(strata.codes, kind="stable")
    starts = np.searchsorted(strata.codes[order], np.arange(len(totals) + 1))
    shown: list[Stratum] = []
    gaps: list[float] = []
    errors: list[float] = []
    freedoms: list[float | None] = []
    for place, code in enumerate(by_size):
        at = order[starts[code] : starts[code + 1]]
        part = data.where(at)
        counts = int(np.count_nonzero(~part.sides)), int(np.count_nonzero(part.sides))
        if both[code] and min(counts) >= _LEAST_IN_STRATUM:
            # Durations on the log scale: a slowdown is proportional to the time.
            tested = part.test(tests.means, None, np.log(part.values) if positive else None)
            if tested.estimate is not None and tested.standard_error:
                gaps.append(tested.estimate.value)
                errors.append(tested.standard_error)
                freedoms.append(tested.freedom)
        if place < _MOST_STRATA:
            middles = [side.mean() if len(side.values) else None for side in part.by_side]
            shown.append(
                Stratum(
                    values=strata.labels(int(code)),
                    baseline_count=counts[0],
                    candidate_count=counts[1],
                    baseline=middles[0],
                    candidate=middles[1],
                    difference=_gap(part, shape, None) if both[code] else None,
                )
            )
    return tuple(shown), tests.heterogeneity(gaps, errors, freedoms) if gaps else None


def categories(codes: NDArray[np.intp], data: Data, strata: Strata, crude: Tested) -> Stratified:
    """Compare categories within strata: by counts only, as they have no mean."""
    first, second = sides_of(data, strata.codes)
    both = (first > 0) & (second > 0)
    shared = both[strata.codes]
    within = data.where(shared)
    tested = None
    if shared.any():
        tested = within.test(tests.categories, strata.codes[shared], codes[shared])
    totals = first + second
    by_size = np.argsort(-totals, kind="stable")[:_MOST_STRATA]
    return Stratified(
        dimensions=strata.dimensions,
        strata_count=int(both.sum()),
        overlap=float(shared.mean()) if len(shared) else 0.0,
        difference=None,
        change=None,
        test=tested.test if tested else "",
        p_value=tested.p_value if tested else None,
        crude_p_value=crude.p_value,
        heterogeneity_p_value=None,
        decides=strata.decides,
        strata=tuple(
            Stratum(
                values=strata.labels(int(code)),
                baseline_count=int(first[code]),
                candidate_count=int(second[code]),
                baseline=None,
                candidate=None,
                difference=None,
            )
            for code in by_size
            if totals[code]
        ),
    )
