"""Converts query results to protobuf messages."""

from typing import cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from otel_vtrack.analysis import compare, differences
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.query import tokens
from otel_vtrack.query.traces import TraceInfo
from otel_vtrack.v1 import analysis_pb2, traces_pb2

_SECOND: int = 1_000_000_000


def timestamp(nanoseconds: int) -> Timestamp:
    """Convert nanoseconds since 1970 to a Timestamp."""
    seconds, nanos = divmod(nanoseconds, _SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def trace_info(found: TraceInfo) -> traces_pb2.TraceInfo:
    """Convert a trace's info to its message."""
    seconds, nanos = divmod(found.execution_duration_ns, _SECOND)
    message = traces_pb2.TraceInfo(
        trace_id=found.trace_id,
        experiment=found.experiment,
        state=cast("traces_pb2.TraceState.ValueType", int(found.state)),
        name=found.name,
        request_time=timestamp(found.request_time_ns),
        execution_duration=Duration(seconds=seconds, nanos=nanos),
        request_preview=found.request_preview,
        response_preview=found.response_preview,
        session_id=found.session_id,
        user_id=found.user_id,
        span_count=found.span_count,
        error_count=found.error_count,
        service_name=found.service_name,
        version=found.version,
        environment=found.environment,
        deployment_id=found.deployment_id,
        trace_metadata=found.trace_metadata,
        tags=found.tags,
        adjusted_count=found.adjusted_count,
    )
    if found.token_usage is not None:
        message.token_usage.CopyFrom(token_usage(found.token_usage))
    if found.cost is not None:
        message.cost.CopyFrom(cost(found.cost))
    return message


def token_usage(found: tokens.TokenUsage) -> traces_pb2.TokenUsage:
    """Convert token usage to its message."""
    return traces_pb2.TokenUsage(**found._asdict())


def cost(found: tokens.Cost) -> traces_pb2.Cost:
    """Convert a cost to its message."""
    return traces_pb2.Cost(**found._asdict())


def comparison(found: compare.Comparison) -> analysis_pb2.Comparison:
    """Convert a comparison to its message."""
    return analysis_pb2.Comparison(
        experiment=found.experiment,
        service_name=found.service_name,
        environment=found.environment,
        baseline=_sample(found.baseline),
        candidate=_sample(found.candidate),
        metrics=map(_metric, found.metrics),
        sampled_one_in=found.sampled_one_in,
        filter=found.filter,
        mix=[
            analysis_pb2.MixDifference(
                dimension=each.dimension,
                p_value=each.p_value,
                cramers_v=each.cramers_v,
                levels=[
                    analysis_pb2.MixLevel(
                        value=level.value,
                        baseline_count=level.baseline_count,
                        candidate_count=level.candidate_count,
                    )
                    for level in each.levels
                ],
                level_count=each.level_count,
                baseline_count=each.baseline_count,
                candidate_count=each.candidate_count,
            )
            for each in found.mix
        ],
        groups=[
            analysis_pb2.ComparisonGroup(
                values=each.values,
                baseline_count=each.baseline_count,
                candidate_count=each.candidate_count,
                metrics=map(_metric, each.metrics),
            )
            for each in found.groups
        ],
        groups_left_out=found.groups_left_out,
    )


def _sample(found: compare.Sample) -> analysis_pb2.VersionSample:
    message = analysis_pb2.VersionSample(
        version=found.version,
        trace_count=found.trace_count,
        error_count=found.error_count,
        in_progress_count=found.in_progress_count,
        sampled_one_in=found.sampled_one_in,
        adjusted_count=found.adjusted_count,
    )
    if found.first_seen_ns is not None and found.last_seen_ns is not None:
        message.first_seen.CopyFrom(timestamp(found.first_seen_ns))
        message.last_seen.CopyFrom(timestamp(found.last_seen_ns))
    return message


def _metric(found: compare.MetricComparison) -> analysis_pb2.MetricComparison:
    return analysis_pb2.MetricComparison(
        metric=found.metric,
        verdict=cast("analysis_pb2.Verdict.ValueType", int(found.verdict)),
        summary=found.summary,
        baseline_count=found.baseline_count,
        candidate_count=found.candidate_count,
        figures=[
            analysis_pb2.FigureComparison(
                figure=each.figure,
                baseline=estimate(each.baseline),
                candidate=estimate(each.candidate),
                difference=estimate(each.difference),
                change=estimate(each.change),
            )
            for each in found.figures
        ],
        test=found.test,
        p_value=found.p_value,
        adjusted_p_value=found.adjusted_p_value,
        more_needed=found.more_needed,
        effect_size=found.effect_size,
        unit=found.unit,
        unit_of_analysis=found.measured.value,
        direction=cast("analysis_pb2.Direction.ValueType", int(found.direction)),
        smallest_relative_change=found.smallest_relative_change,
        smallest_absolute_change=found.smallest_absolute_change,
        baseline_cluster_count=found.baseline_cluster_count,
        candidate_cluster_count=found.candidate_cluster_count,
        test_reason=found.test_reason,
        deciding_figure=found.deciding_figure,
        deciding_change=estimate(found.deciding_change),
        tail=_tail(found.tail),
        stratified=_stratified(found.stratified),
        categories=[
            analysis_pb2.CategoryComparison(
                category=each.category,
                baseline_count=each.baseline_count,
                candidate_count=each.candidate_count,
                baseline=estimate(each.baseline),
                candidate=estimate(each.candidate),
                difference=estimate(each.difference),
            )
            for each in found.categories
        ],
        example_trace_ids=found.example_trace_ids,
        unpriced_count=found.unpriced_count,
        unpriced_models=found.unpriced_models,
    )


def _tail(found: compare.Tail | None) -> analysis_pb2.TailTest | None:
    if found is None:
        return None
    return analysis_pb2.TailTest(
        threshold=found.threshold,
        baseline=estimate(found.baseline),
        candidate=estimate(found.candidate),
        test=found.test,
        p_value=found.p_value,
        adjusted_p_value=found.adjusted_p_value,
        change=estimate(found.change),
    )


def _stratified(found: compare.Stratified | None) -> analysis_pb2.StratifiedResult | None:
    if found is None:
        return None
    return analysis_pb2.StratifiedResult(
        dimensions=found.dimensions,
        strata_count=found.strata_count,
        overlap=found.overlap,
        difference=estimate(found.difference),
        change=estimate(found.change),
        test=found.test,
        p_value=found.p_value,
        crude_p_value=found.crude_p_value,
        heterogeneity_p_value=found.heterogeneity_p_value,
        decides=found.decides,
        strata=[
            analysis_pb2.Stratum(
                values=each.values,
                baseline_count=each.baseline_count,
                candidate_count=each.candidate_count,
                baseline=each.baseline,
                candidate=each.candidate,
                difference=estimate(each.difference),
            )
            for each in found.strata
        ],
    )


def difference(found: differences.Difference) -> analysis_pb2.Difference:
    """Convert a difference between two versions to its message."""
    return analysis_pb2.Difference(
        kind=cast("analysis_pb2.DifferenceKind.ValueType", int(found.kind)),
        key=found.key,
        value=found.value,
        change=cast("analysis_pb2.DifferenceChange.ValueType", int(found.change)),
        baseline_count=found.baseline_count,
        candidate_count=found.candidate_count,
        difference=estimate(found.difference),
        p_value=found.p_value,
        adjusted_p_value=found.adjusted_p_value,
        example_trace_id=found.example_trace_id,
        route=found.route,
        route_share=found.route_share,
        same_route_difference=found.same_route_difference,
        averages=_averages(found.averages),
    )


def _averages(found: differences.Averages | None) -> analysis_pb2.Averages | None:
    if found is None:
        return None
    return analysis_pb2.Averages(
        baseline_mean=found.baseline_mean,
        candidate_mean=found.candidate_mean,
        baseline_median=found.baseline_median,
        candidate_median=found.candidate_median,
        relative_difference=estimate(found.relative_difference),
    )


def estimate(found: Estimate | None) -> analysis_pb2.Estimate | None:
    """Convert an estimate to its message; return None if there is none."""
    if found is None:
        return None
    return analysis_pb2.Estimate(value=found.value, lower=found.lower, upper=found.upper)


def is_double(number: int) -> bool:
    """Return whether a double, as in protobuf's Value, represents the integer exactly."""
    try:
        return int(float(number)) == number
    except OverflowError:
        return False
