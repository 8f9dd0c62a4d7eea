"""Metrics of traces as columns of values, their means, and differences of these.

Metrics that every trace has are in the sample of flags. All others are read as for a comparison of
versions, and belong to the trace they were measured in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from otel_vtrack.analysis import compare as answers
from otel_vtrack.analysis.compare import Question
from otel_vtrack.analysis.inference import compare, estimate
from otel_vtrack.analysis.inference.compare import Tested
from otel_vtrack.analysis.metrics import Metric, MetricQuery, Shape, parse_all
from otel_vtrack.analysis.sample import Source, Units
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query.flags import Numbers, Sample, Where
from otel_vtrack.query.prices import Prices
from otel_vtrack.store.client import Store

METRICS: Final = ("latency", "error_rate", "tokens")
"""Metrics to compare where none is named, and the only ones for traces of any version."""
ENOUGH: Final = 20
"""Fewest traces in each group needed for a conclusion, as in `analysis.compare`."""
_MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's values, one for each unit that has it.

    Attributes:
        metric: With its actual shape.
        values: Numbers; 0 and 1 for shares.
        at: The index of each value's trace.
        weights: How many each value stands for, as its trace does.
        unpriced_count: Traces left out because a model has no price.
        unpriced_models: These models.
    """

    metric: Metric
    values: Numbers
    at: Numbers
    weights: Numbers
    unpriced_count: int = 0
    unpriced_models: tuple[str, ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether values are 0 and 1."""
        return self.metric.shape is Shape.SHARE

    def clusters(self, chosen: Numbers, clusters: Numbers) -> Numbers:
        """Return the clusters of the values of chosen traces."""
        return clusters[self.at[chosen[self.at]]]

    def of(self, chosen: Numbers) -> Numbers:
        """Return the values of chosen traces."""
        return self.values[chosen[self.at]]

    def weights_of(self, chosen: Numbers) -> Numbers:
        """Return how many the values of chosen traces stand for."""
        return self.weights[chosen[self.at]]

    def mean(self, chosen: Numbers, clusters: Numbers) -> Estimate | None:
        """Estimate the mean, or share, of chosen traces; None if there are no values."""
        values = self.of(chosen)
        if not len(values):
            return None
        how = estimate.proportion if self.is_share else estimate.mean
        return how(values, self.clusters(chosen, clusters), self.weights_of(chosen))

    def quantiles(
        self, chosen: Numbers, clusters: Numbers, levels: Sequence[float]
    ) -> list[Estimate | None]:
        """Estimate quantiles of chosen traces; None if there are no values."""
        values = self.of(chosen)
        if not len(values):
            return [None] * len(levels)
        own = self.clusters(chosen, clusters)
        return estimate.quantiles(values, own, levels, weights=self.weights_of(chosen))

    def count(self, chosen: Numbers) -> int:
        """Count the values of chosen traces."""
        return int(chosen[self.at].sum())

    def enough(self, *sides: Numbers) -> bool:
        """Return whether each side has enough values for a conclusion."""
        return all(self.count(side) >= ENOUGH for side in sides)

    def difference(self, baseline: Numbers, candidate: Numbers, clusters: Numbers) -> Tested | None:
        """Test the difference of two groups, candidate minus baseline; None if too few."""
        if not self.enough(baseline, candidate):
            return None
        both = baseline | candidate
        test = compare.proportions if self.is_share else compare.means
        return test(
            self.of(both),
            self._side(candidate, both),
            self.clusters(both, clusters),
            weights=self.weights_of(both),
        )

    def ratio(self, baseline: Numbers, candidate: Numbers, clusters: Numbers) -> Estimate | None:
        """Estimate the relative difference of means; None where the baseline's is not above 0."""
        if self.of(baseline).mean() <= 0:
            return None
        both = baseline | candidate
        sides = self._side(candidate, both)
        own = self.clusters(both, clusters)
        found = compare.ratio_of_means(self.of(both), sides, own, weights=self.weights_of(both))
        return found.estimate

    def interaction(
        self, candidate: Numbers, group: Numbers, chosen: Numbers, clusters: Numbers
    ) -> Tested:
        """Test the difference of differences among chosen traces: in the group minus outside."""
        return compare.interaction(
            self.of(chosen),
            self._side(candidate, chosen),
            self._side(group, chosen),
            self.clusters(chosen, clusters),
            weights=self.weights_of(chosen),
        )

    def _side(self, side: Numbers, chosen: Numbers) -> Numbers:
        return side[self.at[chosen[self.at]]]


def wanted(metrics: Sequence[str]) -> list[Metric]:
    """Return the requested metrics, or all of `METRICS` if none; those of every trace first.

    Raises:
        InvalidArgument: There is no such metric, one is asked for twice, or there are too many.
    """
    asked = parse_all(map(MetricQuery, metrics or METRICS))
    plain = {name: number for number, name in enumerate(METRICS)}
    return sorted(asked, key=lambda each: plain.get(each.text, len(plain)))


def of_any_version(metrics: Sequence[str]) -> list[Metric]:
    """Return the requested metrics for traces of any version.

    Raises:
        InvalidArgument: One is only available within versions.
    """
    asked = wanted(metrics)
    for each in asked:
        if each.text not in METRICS:
            raise InvalidArgument(
                f"{each.text} is compared only within versions: choose from"
                f" {', '.join(METRICS)} here, or use `vtrack flags compare`"
            )
    return asked


def asks_tokens(metrics: Sequence[Metric]) -> bool:
    """Return whether the sample of flags needs tokens."""
    return any(each.text == "tokens" for each in metrics)


def of_sample(sample: Sample, metrics: Sequence[Metric], *, every: bool) -> list[Measured]:
    """Return the metrics of a sample's traces; those that no trace has only if `every`."""
    columns = [_measured(sample, metric) for metric in metrics if metric.text in METRICS]
    return [each for each in columns if every or len(each.values)]


def _measured(sample: Sample, metric: Metric) -> Measured:
    values = {
        "latency": sample.latencies,
        "error_rate": sample.failures.astype(float),
        "tokens": sample.tokens,
    }[metric.text]
    known = np.flatnonzero(~np.isnan(values))
    return Measured(metric, values[known], known, sample.weights[known])


def of_versions(
    store: Store,
    where: Where,
    sample: Sample,
    metrics: Sequence[Metric],
    *,
    experiment: str,
    max_traces: int,
    table: Prices,
) -> list[Measured]:
    """Return the metrics that only a comparison of versions provides.

    They are of the same sample of traces, or a sparser one; those of spans and assessments are
    assigned to the traces.

    Args:
        store: Where to look.
        where: Which traces; of one version or two.
        sample: These traces.
        metrics: All requested metrics.
        experiment: The traces' experiment.
        max_traces: 0 for the default.
        table: Token prices.

    Raises:
        InvalidArgument: The values of an assessment are names.
        NotFound: Nothing has a metric's name.
    """
    further = [each for each in metrics if each.text not in METRICS]
    if not further:
        return []
    question = Question(
        baseline_version=where.versions[0],
        candidate_version=where.versions[-1],
        experiment=experiment,
        service_name=where.service_name,
        environment=where.environment,
        start_time_from_ns=where.from_ns,
        start_time_until_ns=where.until_ns,
        metrics=[MetricQuery(each.text) for each in further],
        max_traces=max_traces,
    )
    bound = answers.bound(question)
    there = answers.presence(store, question, bound)
    source = Source(store, question, bound, there, table)
    sides = np.where(sample.of_version(where.versions[0]), 1, 2)
    return [_of_units(source.units(each, table), sample, sides) for each in further]


def _of_units(units: Units, sample: Sample, sides: Numbers) -> Measured:
    metric = units.metric
    if metric.shape is Shape.CATEGORY:
        raise InvalidArgument(
            f"{metric.text}: its values are names, but variants are compared by numbers or by yes"
            " and no: use `vtrack compare` with --group-by flag:KEY"
        )
    at, there = _found(units.rows["trace_hash"], sample.ids)
    # Ignore what a span of another version measures in a trace of this version.
    there[there] = units.rows["side"][there] == sides[at[there]]
    sides_unpriced, models = units.unpriced
    return Measured(
        metric,
        units.values[there],
        at[there],
        sample.weights[at[there]],
        len(sides_unpriced),
        models[:_MOST_NAMED],
    )


def _found(hashes: Numbers, ids: Numbers) -> tuple[Numbers, Numbers]:
    """Return the index of each trace, and which traces are in the sample."""
    if not len(ids):
        return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), bool)
    order = np.argsort(ids)
    at = order[np.minimum(np.searchsorted(ids, hashes, sorter=order), len(ids) - 1)]
    return at, ids[at] == hashes
