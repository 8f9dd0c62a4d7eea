"""Test which things distinguish the traces of two versions.

Traces of one session are not independent, nor are those of one minute, in which something may have
gone wrong. So the counts of each version are divided by its design effect before the test: by how
much more they vary than counts of independent traces (J. N. K. Rao and A. J. Scott, A simple method
for the analysis of clustered binary data, Biometrics 48 (1992)). The correlation of two traces of a
cluster is estimated from both versions together, as it is the same if they do not differ; each
version's design effect then follows from the sizes of its clusters (A. Donald and A. Donner,
Adjustments to the Mantel-Haenszel chi-square statistic and odds ratio variance estimator when the
data are clustered, Statistics in Medicine 6 (1987)).

For measured attributes, such as tokens, means are tested instead of shares: see `measured`.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from otel_vtrack.analysis import compare, measured, statistics
from otel_vtrack.analysis.differences import Change, Difference, Kind
from otel_vtrack.analysis.inference.tested import Tested
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.query.rowbinary import Reader

ENOUGH_WINDOWS: Final = 20
"""Fewest windows of each version that count as clusters: fewer do not show how much they vary, and
a version that was live only briefly could never be distinguished from another."""
_MOSTLY: Final = 0.5
_FEWEST_TRACES: Final = 3
"""Things in fewer traces show nothing; as in the query."""

_Numbers: TypeAlias = npt.NDArray[np.int64]
_Reals: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Traces that depend on each other.

    Attributes:
        labels: The cluster number of each trace.
        sizes: The number of traces in each cluster.
        counts: The number of clusters of each version.
        alone: For each version, the design effect of its weights for independent traces.
        pairs: For each version, with how many others a trace shares its cluster on average.
    """

    labels: _Numbers
    sizes: _Numbers
    counts: _Numbers
    alone: _Reals
    pairs: _Reals

    def design_effects(self, which: "Found", shares: _Reals) -> _Reals:
        """Return how much more each thing varies than with independent traces, at least 1.

        One row per thing, one column per version. `shares` are those of both versions together.
        Where traces have weights w, the factor is (Σw² + r (ΣW² - Σw²)) / Σw, with W the weights of
        clusters and r the correlation (L. Kish, Survey Sampling (1965), 11.7).
        """
        count, traces = len(self.sizes), len(self.labels)
        if count == traces:
            return np.tile(self.alone, (len(shares), 1))
        keys, held = np.unique(which.things * count + self.labels[which.traces], return_counts=True)
        thing, size = keys // count, self.sizes[keys % count]
        squares = np.bincount(thing, weights=held.astype(float) ** 2, minlength=len(shares))
        crossed = np.bincount(thing, weights=held * size, minlength=len(shares))
        spread = squares - 2 * shares * crossed + shares**2 * float((self.sizes**2).sum())
        alone = shares * (1 - shares)
        spread *= count / max(1, count - 1)
        # Above 1 where the variation is mostly in the larger clusters.
        common = np.divide(
            spread - traces * alone,
            alone * float((self.sizes * (self.sizes - 1)).sum()),
            out=np.zeros(len(shares)),
            where=alone > 0,
        )
        return self.alone + np.maximum(0.0, common)[:, None] * self.pairs


@dataclass(frozen=True, slots=True)
class Found:
    """Pairs of a thing and a trace that has it, by number."""

    things: _Numbers
    traces: _Numbers


def rows(data: bytes) -> list[dict[str, Any]]:
    """Parse the query's result."""
    reader = Reader(data)
    found: list[dict[str, Any]] = []
    while reader.more:
        found.append(
            {
                "kind": reader.text(),
                "key": reader.text(),
                "value": reader.text(),
                "traces": np.frombuffer(reader.packed(8), "<u8"),
                "told_traces": np.frombuffer(reader.packed(8), "<u8"),
                "numbers": np.frombuffer(reader.packed(8), "<f8"),
                "ids": np.frombuffer(reader.packed(16), "V16"),
                "distinct_count": reader.uint64(),
            }
        )
    return found


def things(rows: Sequence[dict[str, Any]], kinds: Collection[Kind]) -> list[dict[str, Any]]:
    """Return the rows that are things of these kinds.

    A measured attribute is one thing, not one per value, and a second one for its presence: an
    ATTRIBUTE without a value.
    """
    many = {row["key"] for row in rows if measured.is_measured(row)}
    kept: list[dict[str, Any]] = []
    for row in [*rows, *_values(rows, many)]:
        kind = row["kind"]
        if kind == "NUMBER":
            if row["key"] in many:
                kept += [row, row | {"kind": "ATTRIBUTE"}]
        elif kind != "ATTRIBUTE" or row["key"] not in many or not measured.is_number(row["value"]):
            kept.append(row)
    wanted = {each.name for each in kinds}
    return [row for row in kept if row["kind"] in wanted]


def _values(rows: Sequence[dict[str, Any]], many: Collection[str]) -> list[dict[str, Any]]:
    """Return each value of numeric attributes with few; merge it with an equal text value."""
    texts = {(row["key"], row["value"]): row for row in rows if row["kind"] == "ATTRIBUTE"}
    found: list[dict[str, Any]] = []
    for row in rows:
        if row["kind"] != "NUMBER" or row["key"] in many:
            continue
        for number in np.unique(row["numbers"]).tolist():
            value = str(int(number)) if number.is_integer() else repr(number)
            traces = np.unique(row["told_traces"][row["numbers"] == number])
            if (same := texts.get((row["key"], value))) is not None:
                same["traces"] = np.union1d(same["traces"], traces)
            elif len(traces) >= _FEWEST_TRACES:
                found.append(row | {"kind": "ATTRIBUTE", "value": value, "traces": traces})
    return found


@dataclass(frozen=True, slots=True)
class Share:
    """A thing tested by its shares: the traces that have it, and its design effects."""

    row: dict[str, Any]
    places: _Numbers
    effects: _Reals
    p_value: float


@dataclass(frozen=True, slots=True)
class Number:
    """A measured attribute that was tested: its traces, their means, and their clusters."""

    row: dict[str, Any]
    places: _Numbers
    values: _Reals
    tested: Tested
    labels: _Numbers

    @property
    def p_value(self) -> float:
        """The test's p-value."""
        return 1.0 if self.tested.p_value is None else self.tested.p_value


@dataclass(frozen=True, slots=True)
class Sample:
    """The traces looked at; one in which both versions took part counts as two.

    Attributes:
        ids: As in the query, sorted.
        is_candidate: 1 for the candidate's.
        totals: Number of the baseline's and of the candidate's traces.
        clusters: By session, and by time window if there are enough of these.
        routes: Names of entry spans.
        route: The number of each trace's route.
        minute: The minute since 1970 in which each trace began.
        weight: The adjusted count of each trace.
        names: The actual id of each trace.
    """

    ids: npt.NDArray[np.uint64]
    is_candidate: _Numbers
    totals: _Numbers
    clusters: list[Clusters]
    routes: list[str]
    route: _Numbers
    minute: _Numbers
    weight: _Reals
    names: npt.NDArray[Any]

    @property
    def weights(self) -> _Reals:
        """How many traces the baseline's and the candidate's stand for."""
        return np.bincount(self.is_candidate, self.weight, 2).astype(float)

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]], widths: Sequence[int]) -> "Sample | None":
        """Build the sample from the query's rows; None if a version has no traces."""
        whole = next((row["traces"] for row in rows if not row["kind"]), [])
        ids = np.sort(np.asarray(whole, dtype=np.uint64))
        side = (ids & np.uint64(1)).astype(np.int64)
        totals = np.bincount(side, minlength=2)
        if not totals.all():
            return None
        # A trace without a session is a session of its own.
        session = -1 - np.arange(len(ids))
        minute = np.zeros(len(ids), dtype=np.int64)
        route = np.zeros(len(ids), dtype=np.int64)
        weight = np.ones(len(ids))
        names = np.zeros(len(ids), "V16")
        routes = [""]
        told = {"SESSION": session, "MINUTE": minute, "WEIGHT": weight}
        for row in rows:
            if row["kind"] in told:
                known, places = _known(ids, row["told_traces"])
                told[row["kind"]][places] = row["numbers"][known]
                if len(row["ids"]):
                    names[places] = row["ids"][known]
            elif row["kind"] == "ROUTE":
                route[_places(ids, row["traces"])] = len(routes)
                routes.append(row["value"])
        window = minute // np.array(widths)[side]
        clusters = [_clusters(session, side, weight)]
        of_window = _clusters(window, side, weight)
        if of_window.counts.min() >= ENOUGH_WINDOWS:
            clusters.append(of_window)
        return cls(ids, side, totals, clusters, routes, route, minute, weight, names)

    def _example(self, places: _Numbers) -> str:
        """Return the id of one of the traces, of a candidate's if there is any."""
        own = places[self.is_candidate[places] == 1]
        return min(self.names[own if len(own) else places].tolist()).hex()

    def told_apart(self, rows: Sequence[dict[str, Any]]) -> tuple[int, list[Difference]]:
        """Test each thing; return how many were tested, and the significant differences."""
        shares = self._shares([row for row in rows if row["kind"] != "NUMBER"])
        numbers = self._numbers([row for row in rows if row["kind"] == "NUMBER"])
        tested = [*shares, *numbers]
        adjusted = statistics.adjusted([each.p_value for each in tested])
        found = [
            self._difference(each, p_value)
            if isinstance(each, Share)
            else self._of_means(each, p_value)
            for each, p_value in zip(tested, adjusted, strict=True)
            if p_value < compare.ALPHA
        ]
        # A measured attribute's greater presence follows from what else is more frequent.
        return len(tested), [
            each
            for each in found
            if each.kind is not Kind.ATTRIBUTE
            or each.value
            or each.change in {Change.NEW, Change.VANISHED}
        ]

    def _shares(self, rows: Sequence[dict[str, Any]]) -> list[Share]:
        if not rows:
            return []
        places = [_places(self.ids, row["traces"]) for row in rows]
        found = Found(
            np.repeat(np.arange(len(rows)), [len(each) for each in places]),
            np.concatenate(places),
        )
        cells = 2 * found.things + self.is_candidate[found.traces]
        counts = np.bincount(cells, self.weight[found.traces], 2 * len(rows)).reshape(-1, 2)
        held = np.bincount(found.things, minlength=len(rows))
        effects, freedoms = self.effects(found, held / len(self.ids))
        both = self.weights[0], self.weights[1]
        p_values = [
            p_value((some, others), both, (effect, other_effect), freedom)
            for (some, others), (effect, other_effect), freedom in zip(
                counts.tolist(), effects.tolist(), freedoms.tolist(), strict=True
            )
        ]
        return list(map(Share, rows, places, effects, p_values))

    def _numbers(self, rows: Sequence[dict[str, Any]]) -> list[Number]:
        found: list[Number] = []
        for row in rows:
            known, each = _known(self.ids, row["told_traces"])
            places, which = np.unique(each, return_inverse=True)
            values = np.bincount(which, row["numbers"][known]) / np.bincount(which)
            if not measured.is_amount(row["key"], values, self.minute[places]):
                continue
            labels = [each.labels[places] for each in self.clusters]
            tested = measured.test(values, self.is_candidate[places], labels, self.weight[places])
            if tested is not None:
                found.append(Number(row, places, values, *tested))
        return found

    def _of_means(self, number: Number, adjusted: float) -> Difference:
        places, values = number.places, number.values
        side = self.is_candidate[places]
        counts = np.bincount(side, minlength=2)
        gap = number.tested.estimate or Estimate(0.0)
        # Minus their mean, so that a route's part in the difference is not that of its traffic.
        middle = np.average(values, weights=self.weight[places])
        route, share, same = self._by_route(places, values - middle, gap.value)
        return Difference(
            kind=Kind.NUMBER,
            key=number.row["key"],
            value="",
            change=Change.MORE if gap.value > 0 else Change.LESS,
            baseline_count=int(counts[0]),
            candidate_count=int(counts[1]),
            difference=gap,
            p_value=number.p_value,
            adjusted_p_value=adjusted,
            example_trace_id=self._example(places),
            route=route,
            route_share=share,
            same_route_difference=same,
            averages=measured.averages(values, side, number.labels, self.weight[places]),
        )

    def effects(self, found: Found, shares: _Reals) -> tuple[_Reals, _Reals]:
        """Return each thing's largest design effects, and the degrees of freedom.

        These are Welch's and Satterthwaite's: a version with few clusters carries little weight.
        """
        more = self._uneven(found, len(shares))[:, None] - 1
        effects = np.stack(
            [each.design_effects(found, shares) + more * each.alone for each in self.clusters]
        )
        errors = effects / self.weights
        counts = np.stack([each.counts for each in self.clusters])[:, None, :]
        spread = (errors**2 / np.maximum(1, counts - 1)).sum(axis=2)
        freedoms = errors.sum(axis=2) ** 2 / spread
        greatest = errors.sum(axis=2).argmax(axis=0), np.arange(len(shares))
        return effects[greatest], freedoms[greatest]

    def _uneven(self, found: Found, count: int) -> _Reals:
        """Return how much more things vary if traces with greater weights have them, at least 1.

        As where a sampler kept what failed, and only what succeeded has a thing: the linearized
        variance of its weighted share, relative to the one if it did not depend on weights (D. A.
        Binder, On the variances of asymptotically normal estimators from complex surveys,
        International Statistical Review 51 (1983)).
        """
        shares, squares = (
            np.bincount(found.things, weights[found.traces], count) / weights.sum()
            for weights in (self.weight, self.weight**2)
        )
        alone = shares * (1 - shares)
        spread = squares * (1 - 2 * shares) + shares**2
        return np.maximum(1.0, np.divide(spread, alone, out=np.ones(count), where=alone > 0))

    def _difference(self, thing: Share, adjusted: float) -> Difference:
        row, places = thing.row, thing.places
        counts = np.bincount(self.is_candidate[places], minlength=2)
        weighed = np.bincount(self.is_candidate[places], self.weight[places], 2)
        shares = [
            statistics.proportion(count / effect, total / effect)
            for count, total, effect in zip(
                weighed.tolist(), self.weights.tolist(), thing.effects.tolist(), strict=True
            )
        ]
        gap = statistics.difference(*shares) or Estimate(0.0)
        if not counts[0]:
            change = Change.NEW
        elif not counts[1]:
            change = Change.VANISHED
        else:
            change = Change.MORE if gap.value > 0 else Change.LESS
        has = np.zeros(len(self.ids))
        has[places] = 1
        route, share, same = self._by_route(np.arange(len(self.ids)), has, gap.value)
        return Difference(
            kind=Kind[row["kind"]],
            key=row["key"],
            value=row["value"],
            change=change,
            baseline_count=int(counts[0]),
            candidate_count=int(counts[1]),
            difference=gap,
            p_value=thing.p_value,
            adjusted_p_value=adjusted,
            example_trace_id=self._example(places),
            route=route,
            route_share=share,
            same_route_difference=same,
        )

    def _by_route(
        self, places: _Numbers, values: _Reals, gap: float
    ) -> tuple[str, float, float | None]:
        """Return the route with most of a difference, its part, and the difference within routes.

        The latter is Mantel and Haenszel's: routes are weighted by their numbers of traces of both
        versions (S. Greenland and J. M. Robins, Biometrics 41 (1985)).
        """
        cells = 2 * self.route[places] + self.is_candidate[places]
        traces, found = (
            np.bincount(cells, weights, 2 * len(self.routes)).reshape(-1, 2).astype(float)
            for weights in (self.weight[places], self.weight[places] * values)
        )
        both = traces.prod(axis=1) / np.maximum(1.0, traces.sum(axis=1))
        same = None
        if both.any():
            rates = found / np.maximum(1.0, traces)
            same = float((both * (rates[:, 1] - rates[:, 0])).sum() / both.sum())
        totals = traces.sum(axis=0)
        parts = found[:, 1] / totals[1] - found[:, 0] / totals[0]
        most = int((parts * np.sign(gap)).argmax())
        share = float(parts[most] / gap) if gap else 0.0
        if share <= _MOSTLY or np.count_nonzero(traces.sum(axis=1)) < 2:
            return "", 0.0, same
        # More than the whole where other routes changed the other way.
        return self.routes[most], min(1.0, share), same


def _clusters(labels: _Numbers, side: _Numbers, weight: _Reals) -> Clusters:
    """Number clusters, separately for each version."""
    # As one number each, since pairs are slow to sort.
    keys, which = np.unique(2 * labels + side, return_inverse=True)
    sides = keys % 2
    total = np.bincount(side, weight, 2)
    alone = np.bincount(side, weight**2, 2) / total
    squares = np.bincount(sides, np.bincount(which, weight) ** 2, 2) / total
    return Clusters(
        which, np.bincount(which), np.bincount(sides, minlength=2), alone, squares - alone
    )


def _known(
    ids: npt.NDArray[np.uint64], given: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.bool_], _Numbers]:
    """Return which traces are among the ids, and their indices there."""
    places = np.minimum(np.searchsorted(ids, given), len(ids) - 1)
    known = ids[places] == given
    return known, places[known]


def _places(ids: npt.NDArray[np.uint64], traces: npt.NDArray[np.uint64]) -> _Numbers:
    return _known(ids, traces)[1]


@lru_cache(maxsize=4096)
def p_value(
    counts: tuple[float, float],
    totals: tuple[float, float],
    effects: tuple[float, float],
    freedom: float,
) -> float:
    """Return the two-sided p-value for two shares of clustered traces being equal.

    If no expected count of effective traces is below 5, it is the z-test's with the pooled share,
    against Student's t with the clusters' degrees of freedom; otherwise that of Fisher's exact test
    of the effective counts. For independent traces it is `statistics.two_proportions`.
    """
    some, others = (count / effect for count, effect in zip(counts, effects, strict=True))
    trials, other_trials = (total / effect for total, effect in zip(totals, effects, strict=True))
    found, total = some + others, trials + other_trials
    least = min(trials, other_trials) * min(found, total - found) / total
    if least < 5 or effects == (1.0, 1.0):
        return statistics.two_proportions(
            round(some), max(1, round(trials)), round(others), max(1, round(other_trials))
        )
    pooled = sum(counts) / sum(totals)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / trials + 1 / other_trials))
    statistic = abs(counts[0] / totals[0] - counts[1] / totals[1]) / deviation
    return float(2 * special.stdtr(freedom, -statistic))
