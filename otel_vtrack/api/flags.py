"""FlagService."""

from typing import TYPE_CHECKING, Any, cast

from google.protobuf.duration_pb2 import Duration

from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service, moment, nanoseconds
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import versions
from otel_vtrack.v1 import analysis_pb2, flags_pb2

if TYPE_CHECKING:
    from otel_vtrack.analysis.flags.interactions import Change, Interaction
    from otel_vtrack.analysis.flags.variants import VariantMetric, VariantSample
    from otel_vtrack.query.flags import Where

_SECOND = 1_000_000_000

# Handlers import the analysis lazily, on the first request, because it loads numpy and scipy.


def _list_flags(
    backend: Backend, request: flags_pb2.ListFlagsRequest
) -> flags_pb2.ListFlagsResponse:
    from otel_vtrack.analysis.flags import variants  # noqa: PLC0415

    found, one_in = variants.usages(
        backend.store,
        _where(backend, request, request.version),
        flag=request.flag,
        max_traces=request.max_traces,
    )
    return flags_pb2.ListFlagsResponse(
        variants=[
            flags_pb2.FlagVariant(
                flag=each.flag,
                variant=each.variant,
                **each.group._asdict(),
                trace_count=each.trace_count,
                share=messages.estimate(each.share),
                first_seen=messages.timestamp(each.first_seen_ns),
                last_seen=messages.timestamp(each.last_seen_ns),
            )
            for each in found
        ],
        sampled_one_in=one_in,
    )


def _compare_variants(
    backend: Backend, request: flags_pb2.CompareVariantsRequest
) -> flags_pb2.CompareVariantsResponse:
    from otel_vtrack.analysis.flags import variants  # noqa: PLC0415

    found = variants.compare_variants(
        backend.store,
        _where(backend, request, request.version),
        flag=request.flag,
        metrics=request.metrics,
        reference_variant=request.reference_variant,
        max_traces=request.max_traces,
        table=backend.prices,
    )
    return flags_pb2.CompareVariantsResponse(
        comparison=flags_pb2.VariantComparison(
            flag=found.flag,
            version=found.version,
            experiment=found.experiment,
            service_name=found.service_name,
            environment=found.environment,
            reference_variant=found.reference_variant,
            variants=[_variant(each) for each in found.variants],
            unevaluated_count=found.unevaluated_count,
            metrics=[_metric(each) for each in found.metrics],
            sampled_one_in=found.sampled_one_in,
        )
    )


def _variant(found: "VariantSample") -> flags_pb2.VariantSample:
    return flags_pb2.VariantSample(
        variant=found.variant,
        trace_count=found.trace_count,
        error_count=found.error_count,
        cluster_count=found.cluster_count,
        switched_count=found.switched_count,
        first_seen=messages.timestamp(found.first_seen_ns),
        last_seen=messages.timestamp(found.last_seen_ns),
    )


def _metric(found: "VariantMetric") -> flags_pb2.VariantMetric:
    return flags_pb2.VariantMetric(
        metric=found.metric,
        unit=found.unit,
        variant=found.variant,
        count=found.count,
        cluster_count=found.cluster_count,
        figures=[
            analysis_pb2.FigureComparison(
                figure=each.figure,
                baseline=messages.estimate(each.baseline),
                candidate=messages.estimate(each.candidate),
                difference=messages.estimate(each.difference),
                change=messages.estimate(each.change),
            )
            for each in found.figures
        ],
        test=found.test,
        p_value=found.p_value,
        adjusted_p_value=found.adjusted_p_value,
        verdict=_verdict(found.verdict),
        summary=found.summary,
    )


def _verdict(found: Any) -> analysis_pb2.Verdict.ValueType:
    return cast("analysis_pb2.Verdict.ValueType", 0 if found is None else int(found))


def _list_interactions(
    backend: Backend, request: flags_pb2.ListInteractionsRequest
) -> flags_pb2.ListInteractionsResponse:
    from otel_vtrack.analysis.flags import interactions  # noqa: PLC0415

    found = interactions.find(
        backend.store,
        _where(backend, request, request.baseline_version, request.candidate_version),
        flag=request.flag,
        metrics=request.metrics,
        reference_variant=request.reference_variant,
        max_traces=request.max_traces,
        table=backend.prices,
    )
    return flags_pb2.ListInteractionsResponse(
        experiment=found.experiment,
        interactions=[_interaction(each) for each in found.interactions],
        sampled_one_in=found.sampled_one_in,
    )


def _interaction(found: "Interaction") -> flags_pb2.Interaction:
    return flags_pb2.Interaction(
        flag=found.flag,
        variant=found.variant,
        reference_variant=found.reference_variant,
        metric=found.metric,
        unit=found.unit,
        baseline_saw_flag=found.baseline_saw_flag,
        basis=cast("flags_pb2.InteractionBasis.ValueType", int(found.basis)),
        shared_variant=found.shared_variant,
        change=_change(found.change),
        reference_change=_change(found.reference_change),
        difference=messages.estimate(found.difference),
        test=found.test,
        p_value=found.p_value,
        adjusted_p_value=found.adjusted_p_value,
        verdict=cast("flags_pb2.InteractionVerdict.ValueType", int(found.verdict)),
        summary=found.summary,
    )


def _change(found: "Change") -> flags_pb2.VariantChange:
    return flags_pb2.VariantChange(
        baseline_count=found.baseline_count,
        candidate_count=found.candidate_count,
        baseline=messages.estimate(found.baseline),
        candidate=messages.estimate(found.candidate),
        difference=messages.estimate(found.difference),
        p_value=found.p_value,
    )


def _get_flag_exposure(
    backend: Backend, request: flags_pb2.GetFlagExposureRequest
) -> flags_pb2.GetFlagExposureResponse:
    from otel_vtrack.analysis.flags import exposure  # noqa: PLC0415

    width = nanoseconds(request.width, name="width")
    if width % _SECOND or width < 0:
        raise InvalidArgument("width must be in whole seconds, from 1 up, or 0 for a suitable one")
    found = exposure.expose(
        backend.store,
        _where(backend, request, request.version),
        flag=request.flag,
        width_s=width // _SECOND,
        max_traces=request.max_traces,
    )
    return flags_pb2.GetFlagExposureResponse(
        width=Duration(seconds=found.width_s),
        buckets=[
            flags_pb2.ExposureBucket(
                start_time=messages.timestamp(bucket.start_ns),
                trace_count=bucket.trace_count,
                unevaluated_count=bucket.unevaluated_count,
                variants=[
                    flags_pb2.VariantShare(
                        variant=each.variant,
                        trace_count=each.trace_count,
                        share=messages.estimate(each.share),
                    )
                    for each in bucket.variants
                ],
            )
            for bucket in found.buckets
        ],
        sampled_one_in=found.sampled_one_in,
    )


def _list_flag_changes(
    backend: Backend, request: flags_pb2.ListFlagChangesRequest
) -> flags_pb2.ListFlagChangesResponse:
    from otel_vtrack.analysis.flags import changes  # noqa: PLC0415

    window = nanoseconds(request.window, name="window")
    if window < 0:
        raise InvalidArgument("window must not be negative")
    where = _where(backend, request, request.version)
    found = changes.find(
        backend.store,
        where,
        flag=request.flag,
        time_ns=moment(request, "time"),
        version=next(iter(where.versions), ""),
        window_ns=window,
        metrics=request.metrics,
        max_traces=request.max_traces,
    )
    return flags_pb2.ListFlagChangesResponse(
        changes=[
            flags_pb2.FlagChange(
                flag=each.flag,
                kind=cast("flags_pb2.FlagChangeKind.ValueType", int(each.kind)),
                experiment=each.experiment,
                service_name=each.service_name,
                environment=each.environment,
                time=messages.timestamp(each.time_ns),
                shifts=[
                    flags_pb2.VariantShift(
                        variant=shift.variant,
                        before=messages.estimate(shift.before),
                        after=messages.estimate(shift.after),
                        difference=messages.estimate(shift.difference),
                    )
                    for shift in each.shifts
                ],
                adjusted_p_value=each.adjusted_p_value,
                version=each.version,
                version_time=None
                if each.version_time_ns is None
                else messages.timestamp(each.version_time_ns),
                metrics=[
                    flags_pb2.ChangeMetric(
                        metric=metric.metric,
                        unit=metric.unit,
                        change=_change(metric.change),
                        adjusted_p_value=metric.adjusted_p_value,
                        verdict=_verdict(metric.verdict),
                    )
                    for metric in each.metrics
                ],
                summary=each.summary,
            )
            for each in found.changes
        ],
        sampled_one_in=found.sampled_one_in,
        tested_count=found.tested_count,
    )


def _where(backend: Backend, request: Any, *named: str) -> "Where":
    """Read the fields that all requests share."""
    from otel_vtrack.query.flags import Where  # noqa: PLC0415

    found = [
        versions.named_by(
            backend.store, text, experiment=request.experiment, service_name=request.service_name
        )
        for text in named
        if text
    ]
    return Where(
        # An alias determines the experiment.
        experiment=next((each.experiment for each in found if each.experiment), "")
        or request.experiment,
        service_name=request.service_name,
        environment=request.environment,
        versions=[each.version for each in found],
        from_ns=moment(request, "start_time_from"),
        until_ns=moment(request, "start_time_until"),
    )


SERVICE = Service(
    flags_pb2.DESCRIPTOR,
    "FlagService",
    {
        "ListFlags": _list_flags,
        "CompareVariants": _compare_variants,
        "ListInteractions": _list_interactions,
        "GetFlagExposure": _get_flag_exposure,
        "ListFlagChanges": _list_flag_changes,
    },
)
