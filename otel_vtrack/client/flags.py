"""Questions about feature flags."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from otel_vtrack.client.call import Call, repeatable
from otel_vtrack.client.values import duration, timestamp
from otel_vtrack.v1 import flags_pb2 as pb


def list_flags(
    *,
    flag: str = "",
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    version: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    max_traces: int = 0,
    timeout: float | None = None,
) -> Call[pb.ListFlagsResponse]:
    """List the flags and variants that each version saw, and where.

    Empty conditions do not restrict. If more than `max_traces` (0 for 50,000) match, a random
    sample is taken.
    """
    return repeatable(
        "FlagService/ListFlags",
        pb.ListFlagsRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            version=version,
            flag=flag,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            max_traces=max_traces,
        ),
        pb.ListFlagsResponse,
        lambda answer: answer,
        timeout,
    )


def compare_variants(
    flag: str,
    version: str,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    metrics: Iterable[str] = (),
    reference_variant: str = "",
    max_traces: int = 0,
    timeout: float | None = None,
) -> Call[pb.VariantComparison]:
    """Compare the variants of a flag within a version.

    Args:
        flag: Its key.
        version: Of the traces' roots.
        experiment: Needed if the version is in more than one.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started then or later.
        start_time_until: Only traces that started before.
        metrics: Any of `compare_versions`, except assessments whose values are categories; empty
            for `latency`, `error_rate` and `tokens`, as far as there are any.
        reference_variant: The variant to compare the others with; empty for `control`, `off` or
            `false`, else the most frequent.
        max_traces: If more match, take a random sample; 0 for 50,000.
        timeout: Seconds for all attempts; None for the client's own.
    """
    return repeatable(
        "FlagService/CompareVariants",
        pb.CompareVariantsRequest(
            flag=flag,
            version=version,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            metrics=metrics,
            reference_variant=reference_variant,
            max_traces=max_traces,
        ),
        pb.CompareVariantsResponse,
        lambda answer: answer.comparison,
        timeout,
    )


def list_interactions(
    baseline_version: str,
    candidate_version: str,
    *,
    flag: str = "",
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    metrics: Iterable[str] = (),
    reference_variant: str = "",
    max_traces: int = 0,
    timeout: float | None = None,
) -> Call[pb.ListInteractionsResponse]:
    """Show how far the change from one version to another depends on variants of flags.

    Args:
        baseline_version: Usually the older one.
        candidate_version: Usually the newer one.
        flag: Only this flag; empty for every one that the candidate saw.
        experiment: Needed if the versions are in more than one.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started then or later.
        start_time_until: Only traces that started before.
        metrics: As in `compare_variants`.
        reference_variant: As in `compare_variants`.
        max_traces: If more match, take a random sample; 0 for 50,000.
        timeout: Seconds for all attempts; None for the client's own.
    """
    return repeatable(
        "FlagService/ListInteractions",
        pb.ListInteractionsRequest(
            baseline_version=baseline_version,
            candidate_version=candidate_version,
            flag=flag,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            metrics=metrics,
            reference_variant=reference_variant,
            max_traces=max_traces,
        ),
        pb.ListInteractionsResponse,
        lambda answer: answer,
        timeout,
    )


def get_flag_exposure(
    flag: str,
    *,
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    version: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    width: timedelta | None = None,
    max_traces: int = 0,
    timeout: float | None = None,
) -> Call[pb.GetFlagExposureResponse]:
    """Show what share of the traces saw which variant, in buckets of `width`; None for about 60.

    Empty conditions do not restrict. If more than `max_traces` (0 for 50,000) match, a random
    sample is taken.
    """
    return repeatable(
        "FlagService/GetFlagExposure",
        pb.GetFlagExposureRequest(
            flag=flag,
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            version=version,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            width=duration(width),
            max_traces=max_traces,
        ),
        pb.GetFlagExposureResponse,
        lambda answer: answer,
        timeout,
    )


def list_flag_changes(
    *,
    flag: str = "",
    experiment: str = "",
    service_name: str = "",
    environment: str = "",
    start_time_from: datetime | None = None,
    start_time_until: datetime | None = None,
    time: datetime | None = None,
    version: str = "",
    window: timedelta | None = None,
    metrics: Iterable[str] = (),
    max_traces: int = 0,
    timeout: float | None = None,
) -> Call[pb.ListFlagChangesResponse]:
    """List when the shares of a flag's variants changed, and what metrics did then.

    Args:
        flag: Only this flag.
        experiment: Only traces of this experiment.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started then or later.
        start_time_until: Only traces that started before.
        time: Only list what changed around this moment, the closest first.
        version: Or around the first trace of this version, in each place.
        window: How far from the moment to look, and how long before and after a change to compare
            metrics; None for an hour.
        metrics: Any of `latency`, `error_rate`, `tokens`; empty for all.
        max_traces: If more match, take a random sample; 0 for 50,000.
        timeout: Seconds for all attempts; None for the client's own.
    """
    return repeatable(
        "FlagService/ListFlagChanges",
        pb.ListFlagChangesRequest(
            experiment=experiment,
            service_name=service_name,
            environment=environment,
            flag=flag,
            start_time_from=timestamp(start_time_from),
            start_time_until=timestamp(start_time_until),
            time=timestamp(time),
            version=version,
            window=duration(window),
            metrics=metrics,
            max_traces=max_traces,
        ),
        pb.ListFlagChangesResponse,
        lambda answer: answer,
        timeout,
    )
