"""Questions about differences."""

from collections.abc import Iterable
from datetime import datetime

from otel_vtrack.client.call import Call, repeatable
from otel_vtrack.client.results import Comparison
from otel_vtrack.client.values import choice, timestamp
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
    """Show whether the candidate differs from the baseline, by how much, and how sure that is.

    Args:
        baseline_version: Usually the older one.
        candidate_version: Usually the newer one.
        experiment: Needed if the versions are in more than one.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started then or later.
        start_time_until: Only traces that started before.
        metrics: `latency`, `error_rate`, `tokens`, `cost`, `entry_latency`, `span_latency:NAME`,
            `span_error_rate:NAME`, `attribute:KEY` or `assessment:NAME`; or a `MetricQuery`, to
            give a direction and a smallest change that matters. Empty for the first four.
        max_traces: If more match, take a random sample; 0 for 50,000.
        filter: Only traces that match this, in the search language.
        group_by: Also compare within each value of these: `route`, `model`, `environment`,
            `service`, `user` or `flag:KEY`.
        stratify_by: Hold these equal; `none` for nothing. Empty for whatever the versions saw a
            different mix of.
        baseline_start_time_from: Another time range for the baseline: only its traces that
            started then or later.
        baseline_start_time_until: Likewise, only its traces that started before.
        timeout: Seconds for all attempts; None for the client's own.
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
                pb.MetricQuery(metric=each) if isinstance(each, str) else each for each in metrics
            ],
            max_traces=max_traces,
            filter=filter,
            group_by=group_by,
            stratify_by=stratify_by,
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
        experiment: Needed if the versions are in more than one.
        service_name: Only spans of this service.
        environment: Only spans in this environment.
        start_time_from: Only traces that started then or later.
        start_time_until: Only traces that started before.
        kinds: Any of `error_message`, `exception_type`, `span_name`, `model`, `flag`, `attribute`,
            `number`; empty for all.
        max_traces: If more match, take a sample; 0 for 10,000.
        timeout: Seconds for all attempts; None for the client's own.
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
            kinds=[choice(pb.DifferenceKind, each) for each in kinds],
            max_traces=max_traces,
        ),
        pb.ListDifferencesResponse,
        lambda answer: answer,
        timeout,
    )
