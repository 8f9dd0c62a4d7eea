"""List the variants of flags that versions saw, and compare one flag's within one version."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.compare import ALPHA, Figure, Verdict
from otel_vtrack.analysis.flags import measures, shares, words
from otel_vtrack.analysis.flags.measures import Measured
from otel_vtrack.analysis.metrics import Direction
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import flags
from otel_vtrack.query.flags import Group, Numbers, Sample, Variants, Where
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.store.client import Store

MOST_LISTED: Final = 10_000
REFERENCES: Final = ("control", "off", "false")
"""Names of variants to compare others with; the first that exists is used."""
_LEVELS: Final = (0.5, 0.95)
_QUANTILES: Final = ("p50", "p95")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A variant that a version saw in a place; flags.proto explains each field."""

    flag: str
    variant: str
    group: Group
    trace_count: int
    share: Estimate
    first_seen_ns: int
    last_seen_ns: int


@dataclass(frozen=True, slots=True)
class VariantSample:
    """The traces of one variant; times in nanoseconds since 1970."""

    variant: str
    trace_count: int
    error_count: int
    cluster_count: int
    switched_count: int
    first_seen_ns: int
    last_seen_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantMetric:
    """One metric of a variant; flags.proto explains each field."""

    metric: str
    unit: str
    variant: str
    count: int
    cluster_count: int
    figures: tuple[Figure, ...]
    test: str = ""
    p_value: float | None = None
    adjusted_p_value: float | None = None
    verdict: Verdict | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantComparison:
    """The variants of a flag side by side; flags.proto explains each field."""

    flag: str
    version: str
    experiment: str
    service_name: str
    environment: str
    reference_variant: str
    variants: tuple[VariantSample, ...]
    unevaluated_count: int
    metrics: tuple[VariantMetric, ...]
    sampled_one_in: int


def usages(
    store: Store, where: Where, *, flag: str = "", max_traces: int = 0
) -> tuple[list[Usage], int]:
    """List the variants each version saw in each place; return them and the n of 1-in-n sampling.

    Raises:
        InvalidArgument: There are too many.
    """
    sample = flags.sample(store, where, flag=flag, max_traces=max_traces)
    totals = np.bincount(sample.group, sample.weights, len(sample.groups))
    effects = [
        shares.design_effect(
            sample.clusters[sample.group == number], sample.weights[sample.group == number]
        )
        for number in range(len(sample.groups))
    ]
    found: list[Usage] = []
    for name, variants in sample.flags.items():
        pairs = sample.group * len(variants.names) + variants.codes
        pairs = np.where(variants.codes < 0, -1, pairs)
        kinds, firsts, which = np.unique(pairs, return_index=True, return_inverse=True)
        counts = np.bincount(which, sample.weights, len(kinds))
        lasts = len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1]
        for pair, first, last, count in zip(kinds, firsts, lasts, counts, strict=True):
            if pair < 0:
                continue
            group, variant = divmod(int(pair), len(variants.names))
            found.append(
                Usage(
                    flag=name,
                    variant=variants.names[variant],
                    group=sample.groups[group],
                    trace_count=round(float(count)) * sample.one_in,
                    share=shares.share(float(count), float(totals[group]), effects[group]),
                    first_seen_ns=int(sample.starts_ns[first]),
                    last_seen_ns=int(sample.starts_ns[last]),
                )
            )
    if len(found) > MOST_LISTED:
        raise InvalidArgument(
            f"there are more than {MOST_LISTED:,} flags, variants and versions: choose a flag,"
            " version, service or environment"
        )
    found.sort(key=lambda each: (each.flag, each.group, -each.trace_count, each.variant))
    return found, sample.one_in


def compare_variants(
    store: Store,
    where: Where,
    *,
    flag: str,
    metrics: Sequence[str] = (),
    reference_variant: str = "",
    max_traces: int = 0,
    table: Prices = BUILT_IN,
) -> VariantComparison:
    """Compare the variants of a flag on the traces of a version, the only one in `where`.

    Raises:
        InvalidArgument: The flag or the version is missing, a metric or the reference is unknown,
            or the version is in more than one experiment and none was named.
        NotFound: No trace of the version saw the flag, or nothing has a metric's name.
    """
    [version] = where.versions or [""]
    if not flag or not version:
        raise InvalidArgument("name a flag and a version: `vtrack flags list` shows both")
    wanted = measures.wanted(metrics)
    sample = flags.sample(
        store,
        where,
        flag=flag,
        tokens=measures.asks_tokens(wanted),
        switches=True,
        max_traces=max_traces,
    )
    experiment = one_experiment(sample)
    seen = sample.flags.get(flag)
    if seen is None:
        raise NotFound(
            f"no trace of version {version} saw the flag {flag} here: `vtrack flags list` shows"
            " which were seen, and where; a wider time range or no --environment may help"
        )
    order = ordered(seen, reference_variant)
    chosen = [seen.codes == code for code in order]
    names = [seen.names[code] for code in order]
    columns = measures.of_sample(sample, wanted, every=bool(metrics))
    columns += measures.of_versions(
        store, where, sample, wanted, experiment=experiment, max_traces=max_traces, table=table
    )
    found = [each for measured in columns for each in _compared(sample, measured, names, chosen)]
    return VariantComparison(
        flag=flag,
        version=version,
        experiment=experiment,
        service_name=where.service_name,
        environment=where.environment,
        reference_variant=names[0],
        variants=tuple(
            _described(sample, name, each) for name, each in zip(names, chosen, strict=True)
        ),
        unevaluated_count=sample.count(seen.codes < 0),
        metrics=tuple(_judged(found, columns, flag, version, names[0])),
        sampled_one_in=sample.one_in,
    )


def one_experiment(sample: Sample) -> str:
    """Return the experiment of all traces; empty without traces.

    Raises:
        InvalidArgument: There are several.
    """
    experiments = sorted({each.experiment for each in sample.groups})
    if len(experiments) > 1:
        raise InvalidArgument(
            f"these traces are in more than one experiment ({', '.join(experiments[:5])}): choose"
            f" one, as in --experiment {experiments[0]}"
        )
    return experiments[0] if experiments else ""


def ordered(seen: Variants, reference: str = "") -> list[int]:
    """Return the numbers of the variants: the reference, then by how many traces saw them.

    Raises:
        InvalidArgument: The reference is not among them.
    """
    names = seen.names
    if reference and reference not in names:
        raise InvalidArgument(
            f"{reference} is not a variant seen here: choose from {', '.join(names[:10])}"
        )
    counts = np.bincount(seen.codes[seen.codes >= 0], minlength=len(names))
    counted: list[int] = counts.tolist()
    present = [code for code, count in enumerate(counted) if count]
    order = sorted(present, key=lambda code: (-counted[code], names[code]))
    by_name = {names[code].lower(): code for code in reversed(order)}
    if reference:
        first = names.index(reference)
    else:
        first = next((by_name[name] for name in REFERENCES if name in by_name), order[0])
    return [first, *(code for code in order if code != first)]


def _described(sample: Sample, variant: str, chosen: Numbers) -> VariantSample:
    starts = sample.starts_ns[chosen]
    return VariantSample(
        variant,
        sample.count(chosen),
        sample.count(chosen & sample.failures),
        len(np.unique(sample.clusters[chosen])),
        sample.count(chosen & sample.switched),
        int(starts[0]) if len(starts) else 0,
        int(starts[-1]) if len(starts) else 0,
    )


def _compared(
    sample: Sample, measured: Measured, names: list[str], chosen: list[Numbers]
) -> list[VariantMetric]:
    reference = chosen[0]
    estimated = [_figures(measured, each, sample.clusters) for each in chosen]
    found: list[VariantMetric] = []
    for number, (name, own) in enumerate(zip(names, chosen, strict=True)):
        tested = measured.difference(reference, own, sample.clusters) if number else None
        figures = [
            Figure(figure, estimated[0][figure] if number else None, value, None, None)
            for figure, value in estimated[number].items()
        ]
        if number:
            figures = [_apart(figure) for figure in figures]
        if tested is not None:
            # For means and shares the difference is the test's own.
            figures[0] = replace(
                figures[0],
                difference=tested.estimate,
                change=measured.ratio(reference, own, sample.clusters),
            )
        found.append(
            VariantMetric(
                metric=measured.metric.text,
                unit=measured.metric.unit,
                variant=name,
                count=measured.count(own),
                cluster_count=len(np.unique(measured.clusters(own, sample.clusters))),
                figures=tuple(figures),
                test=tested.test if tested else "",
                p_value=tested.p_value if tested else None,
                verdict=Verdict.NOT_ENOUGH_DATA if number else None,
            )
        )
    return found


def _figures(measured: Measured, own: Numbers, clusters: Numbers) -> dict[str, Estimate | None]:
    mean = measured.mean(own, clusters)
    if measured.is_share:
        return {"rate": mean}
    quantiles = measured.quantiles(own, clusters, _LEVELS)
    return {"mean": mean, **dict(zip(_QUANTILES, quantiles, strict=True))}


def _apart(figure: Figure) -> Figure:
    return replace(
        figure,
        difference=statistics.difference(figure.baseline, figure.candidate),
        change=statistics.change(figure.baseline, figure.candidate),
    )


def _judged(
    found: list[VariantMetric],
    columns: Sequence[Measured],
    flag: str,
    version: str,
    reference: str,
) -> list[VariantMetric]:
    """Adjust the p-values of all tests, and set verdicts and summaries."""
    tested = [number for number, each in enumerate(found) if each.p_value is not None]
    adjusted = statistics.adjusted([found[number].p_value or 0.0 for number in tested])
    judged = list(found)
    of = {each.metric.text: each for each in columns}
    for number, p_value in zip(tested, adjusted, strict=True):
        gap = found[number].figures[0].difference
        judged[number] = replace(
            found[number],
            adjusted_p_value=p_value,
            verdict=verdict(
                p_value, gap.value if gap else 0.0, of[found[number].metric].metric.direction
            ),
        )
    return [
        replace(
            each,
            summary=words.of_variant(each, flag, version, reference) + _unpriced(of[each.metric]),
        )
        if each.verdict is not None
        else each
        for each in judged
    ]


def _unpriced(measured: Measured) -> str:
    return words.unpriced(measured.unpriced_count, measured.unpriced_models)


def verdict(
    adjusted_p_value: float, difference: float, direction: Direction = Direction.LESS
) -> Verdict:
    """Return the verdict, given whether less or more is better."""
    if adjusted_p_value >= ALPHA or not difference:
        return Verdict.NO_EVIDENCE
    if direction is Direction.UNSPECIFIED:
        return Verdict.CHANGED
    worse = difference > 0 if direction is Direction.LESS else difference < 0
    return Verdict.REGRESSED if worse else Verdict.IMPROVED
