"""Test whether what changed from one version to another depends on the variant of a flag.

An interaction is a difference of differences: the change under a variant minus the change under the
reference. One change being significant and the other not does not show an interaction (A. Gelman
and H. Stern, The difference between "significant" and "not significant" is not itself statistically
significant, The American Statistician 60 (2006)), so it has a test of its own.

While a flag is rolled out, one version usually lacks one of the variants. Both variants are then
compared with the same traces of that version, which cancel out of the difference: the test is of
the other version's variants against each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np

from otel_vtrack.analysis import statistics
from otel_vtrack.analysis.compare import ALPHA
from otel_vtrack.analysis.flags import measures, variants, words
from otel_vtrack.analysis.flags.measures import Measured
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import flags
from otel_vtrack.query.flags import Numbers, Sample, Variants, Where
from otel_vtrack.query.prices import BUILT_IN, Prices
from otel_vtrack.store.client import Store

MOST_VARIANTS: Final = 20
"""Most variants of a flag to test besides the reference; the most frequent ones."""


class InteractionVerdict(IntEnum):
    """What can be concluded about an interaction; numbers as in flags.proto."""

    DEPENDS = 1
    NO_EVIDENCE = 2
    NOT_ENOUGH_DATA = 3


class Basis(IntEnum):
    """The version whose variants are tested; numbers as in flags.proto."""

    BOTH = 1
    CANDIDATE = 2
    BASELINE = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of two groups of traces; flags.proto explains each field of VariantChange."""

    baseline_count: int
    candidate_count: int
    baseline: Estimate | None
    candidate: Estimate | None
    difference: Estimate | None
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """How a change depends on a variant; flags.proto explains each field."""

    flag: str
    variant: str
    reference_variant: str
    metric: str
    unit: str
    baseline_saw_flag: bool
    basis: Basis
    shared_variant: str
    change: Change
    reference_change: Change
    difference: Estimate | None
    test: str
    p_value: float | None
    adjusted_p_value: float | None = None
    verdict: InteractionVerdict = InteractionVerdict.NOT_ENOUGH_DATA
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Interactions:
    """All interactions, the most significant first."""

    experiment: str
    interactions: list[Interaction]
    sampled_one_in: int


def find(
    store: Store,
    where: Where,
    *,
    flag: str = "",
    metrics: Sequence[str] = (),
    reference_variant: str = "",
    max_traces: int = 0,
    table: Prices = BUILT_IN,
) -> Interactions:
    """Compare the changes under the variants of flags; `where` has baseline and candidate.

    Raises:
        InvalidArgument: A version is missing, both are the same, a metric or the reference is
            unknown, or the versions are in more than one experiment and none was named.
        NotFound: A version has no traces there, the candidate's did not see the flag, or nothing
            has a metric's name.
    """
    if len(set(where.versions)) != 2:
        raise InvalidArgument(
            "name two different versions to compare: `vtrack versions list` shows them"
        )
    baseline, candidate = where.versions
    wanted = measures.wanted(metrics)
    sample = flags.sample(
        store, where, flag=flag, tokens=measures.asks_tokens(wanted), max_traces=max_traces
    )
    experiment = variants.one_experiment(sample)
    is_candidate = sample.of_version(candidate)
    for version, count in ((baseline, (~is_candidate).sum()), (candidate, is_candidate.sum())):
        if not count:
            raise NotFound(
                f"version {version} has no traces here: `vtrack versions list` shows which"
                " versions are known, and where; a wider time range or no --environment may help"
            )
    seen = {
        name: each for name, each in sample.flags.items() if (each.codes[is_candidate] >= 0).any()
    }
    if flag and not seen:
        raise NotFound(
            f"no trace of version {candidate} saw the flag {flag} here: `vtrack flags list` shows"
            " which were seen, and where"
        )
    columns = measures.of_sample(sample, wanted, every=bool(metrics))
    columns += measures.of_versions(
        store, where, sample, wanted, experiment=experiment, max_traces=max_traces, table=table
    )
    found = [
        each
        for name in seen
        for each in _of_flag(sample, is_candidate, name, columns, reference=reference_variant)
    ]
    order = [each.metric.text for each in columns]
    return Interactions(experiment, _judged(found, order, baseline, candidate), sample.one_in)


def _of_flag(
    sample: Sample,
    is_candidate: Numbers,
    flag: str,
    columns: list[Measured],
    *,
    reference: str,
) -> list[Interaction]:
    seen = sample.flags[flag]
    baseline_saw = bool((seen.codes[~is_candidate] >= 0).any())
    clusters = sample.clusters
    sides = _Sides(seen, is_candidate, clusters)
    first, *others = sides.ordered(reference)
    found: list[Interaction] = []
    for measured in columns:
        for code in others[:MOST_VARIANTS]:
            basis, shared = sides.basis(code, first)
            own, other = (sides.under(each, basis, shared) for each in (code, first))
            tested = None
            if measured.enough(*own, *other):
                if basis is Basis.BOTH:
                    chosen = (seen.codes == first) | (seen.codes == code)
                    tested = measured.interaction(
                        is_candidate, seen.codes == code, chosen, clusters
                    )
                elif basis is Basis.CANDIDATE:
                    tested = measured.difference(other[1], own[1], clusters)
                else:
                    # The more the baseline had, the smaller is the change.
                    tested = measured.difference(own[0], other[0], clusters)
            found.append(
                Interaction(
                    flag=flag,
                    variant=seen.names[code],
                    reference_variant=seen.names[first],
                    metric=measured.metric.text,
                    unit=measured.metric.unit,
                    baseline_saw_flag=baseline_saw,
                    basis=basis,
                    shared_variant="" if shared is None else seen.names[shared],
                    change=change(measured, *own, clusters),
                    reference_change=change(measured, *other, clusters),
                    difference=tested.estimate if tested else None,
                    test=tested.test if tested else "",
                    p_value=tested.p_value if tested else None,
                )
            )
    return found


class _Sides:
    """The traces of both versions by variant of a flag."""

    def __init__(self, seen: Variants, is_candidate: Numbers, clusters: Numbers) -> None:
        self._seen = seen
        self._is_candidate = is_candidate
        self._has_baseline, self._has_candidate = (
            _enough(seen, side, clusters) for side in (~is_candidate, is_candidate)
        )

    def ordered(self, reference: str) -> list[int]:
        """Return the numbers of the variants, the reference first.

        Then come those that the candidate saw, then others with enough traces of the baseline. If
        no name identifies the reference, it is one that the baseline has, if there is any.
        """
        names = self._seen.names
        own = Variants(names, np.where(self._is_candidate, self._seen.codes, -1))
        order = variants.ordered(own, reference)
        if not reference and names[order[0]].lower() not in variants.REFERENCES:
            first = next((code for code in order if self._has_baseline[code]), order[0])
            order = [first, *(code for code in order if code != first)]
        # Numbers are in the order of how many traces saw the variants.
        gone = (code for code in range(len(names)) if self._has_baseline[code])
        return order + [code for code in gone if code not in order]

    def basis(self, code: int, reference: int) -> tuple[Basis, int | None]:
        """Return whose variants to test, and the variant whose traces stand in.

        They are of the version that lacks one of the pair; None for all of its traces.
        """
        pair = [code, reference]
        basis, has = Basis.CANDIDATE, self._has_baseline
        if self._has_baseline[pair].all():
            if self._has_candidate[pair].all():
                return Basis.BOTH, None
            basis, has = Basis.BASELINE, self._has_candidate
        return basis, next((each for each in pair if has[each]), None)

    def under(self, code: int, basis: Basis, shared: int | None) -> tuple[Numbers, Numbers]:
        """Return which of the baseline's and of the candidate's traces to compare."""
        own = self._seen.codes == code
        stand_in = np.full(len(own), True) if shared is None else self._seen.codes == shared
        before = stand_in if basis is Basis.CANDIDATE else own
        after = stand_in if basis is Basis.BASELINE else own
        return ~self._is_candidate & before, self._is_candidate & after


def _enough(seen: Variants, side: Numbers, clusters: Numbers) -> Numbers:
    """Return of which variants a side has enough traces, and from several users or sessions."""
    chosen = side & (seen.codes >= 0)
    traces = np.bincount(seen.codes[chosen], minlength=len(seen.names))
    pairs = np.unique(np.stack([seen.codes[chosen], clusters[chosen]]), axis=1)
    return (traces >= measures.ENOUGH) & (np.bincount(pairs[0], minlength=len(seen.names)) > 1)


def change(measured: Measured, before: Numbers, after: Numbers, clusters: Numbers) -> Change:
    """Compare two groups of traces by the mean, or share, of a metric."""
    tested = measured.difference(before, after, clusters)
    means = measured.mean(before, clusters), measured.mean(after, clusters)
    return Change(
        measured.count(before),
        measured.count(after),
        *means,
        tested.estimate if tested else statistics.difference(*means),
        tested.p_value if tested else None,
    )


def _judged(
    found: list[Interaction], metrics: list[str], baseline: str, candidate: str
) -> list[Interaction]:
    """Adjust the p-values of all tests, and set verdicts and summaries."""
    tested = [number for number, each in enumerate(found) if each.p_value is not None]
    adjusted = statistics.adjusted([found[number].p_value or 0.0 for number in tested])
    judged = list(found)
    for number, p_value in zip(tested, adjusted, strict=True):
        verdict = InteractionVerdict.NO_EVIDENCE
        if p_value < ALPHA:
            verdict = InteractionVerdict.DEPENDS
        judged[number] = replace(found[number], adjusted_p_value=p_value, verdict=verdict)
    judged.sort(
        key=lambda each: (
            2.0 if each.adjusted_p_value is None else each.adjusted_p_value,
            each.flag,
            metrics.index(each.metric),
            each.variant,
        )
    )
    return [
        replace(each, summary=words.of_interaction(each, baseline, candidate)) for each in judged
    ]
