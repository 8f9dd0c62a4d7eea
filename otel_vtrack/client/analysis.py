"""Calls that compare versions."""

from collections.abc import Iterable
from datetime import datetime

from otel_vtrack.client.call import Call, repeatable
from otel_vtrack.client.results import Comparison
from otel_vtrack.client.values import choice, listed, timestamp
from otel_vtrack.v1 import analysis_pb2 as pb


def compare_versions(
    baseline_version: str,
    candidate_version: str,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    metrics: Iterable[str | pb.MetricQuery] = (),
    max_traces: int = 0,
    filter: str = "",  # noqa: A002 - as in the protos
    group_by: Iterable[str] = (),
    stratify_by: Iterable[str] = (),
    baseline_start_time_from: datetime | None = None,
    baseline_start_time_until: datetime | None = None,
    timeout: float | None = None,
) -> Call[Comparison]:
    """Compare two versions: whether they differ, by how much, and with what certainty.

    Args:
        baseline_version: Usually the older one.
        candidate_version: Usually the newer one.
        experiment: Required if the versions are in more than one.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started at or after this time.
        start_time_until: Only traces that started before this time.
        metrics: `latency`, `error_rate`, `tokens`, `cost`, `entry_latency`, `span_latency:NAME`,
            `span_error_rate:NAME`, `attribute:KEY` or `assessment:NAME`; or a `MetricQuery`, to
            set a direction and the smallest change that matters. Empty means the first four.
        max_traces: If more match, use a random sample of them; 0 means 50,000.
        filter: Only traces that match this filter in the search language.
        group_by: Also compare within each value of these: `route`, `model`, `environment`,
            `service`, `user` or `flag:KEY`.
        stratify_by: Dimensions to hold equal; `none` for none. Empty means those in which the
            versions' mixes differ.
        baseline_start_time_from: Overrides `start_time_from` for the baseline.
        baseline_start_time_until: Overrides `start_time_until` for the baseline.
        timeout: Seconds for all attempts; None for the client's default.
    """
    return repeatable(
        "AnalysisService/CompareVersions",
        pb.CompareVersionsRequest(
            baseline_version=baseline_version,
            candidate_version=candidate_version,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            metrics=[
                pb.MetricQuery(metric=each) if isinstance(each, str) else each
                for each in listed(metrics)
            ],
            max_traces=max_traces,
            filter=filter,
            group_by=listed(group_by),
            stratify_by=listed(stratify_by),
            baseline_start_time_from=timestamp(baseline_start_time_from),
            baseline_start_time_until=timestamp(baseline_start_time_until),
        ),
        pb.CompareVersionsResponse,
        lambda answer: Comparison(answer.comparison),
        timeout,
    )


def list_differences(
    baseline_version: str,
    candidate_version: str,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    kinds: Iterable["str | pb.DifferenceKind.ValueType"] = (),
    max_traces: int = 0,
    timeout: float | None = None,
) -> Call[pb.ListDifferencesResponse]:
    """List what is new in the candidate, what vanished, and what became more or less frequent.

    Args:
        baseline_version: Usually the older one.
        candidate_version: Usually the newer one.
        experiment: Required if the versions are in more than one.
        service_name: Only spans of this service.
        environment: Only spans in this environment.
        start_time_from: Only traces that started at or after this time.
        start_time_until: Only traces that started before this time.
        kinds: Any of `error_message`, `exception_type`, `span_name`, `model`, `flag`, `attribute`,
            `number`; empty means all.
        max_traces: If more match, use a sample of them; 0 means 10,000.
        timeout: Seconds for all attempts; None for the client's default.
    """
    return repeatable(
        "AnalysisService/ListDifferences",
        pb.ListDifferencesRequest(
            baseline_version=baseline_version,
            candidate_version=candidate_version,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            kinds=[choice(pb.DifferenceKind, each) for each in listed(kinds)],
            max_traces=max_traces,
        ),
        pb.ListDifferencesResponse,
        lambda answer: answer,
        timeout,
    )
