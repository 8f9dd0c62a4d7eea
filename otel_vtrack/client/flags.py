"""Calls that analyze feature flags."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from otel_vtrack.client.call import Call, repeatable
from otel_vtrack.client.values import duration, listed, timestamp
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

    Empty conditions do not filter. If more than `max_traces` (0 means 50,000) match, a random
    sample is used.
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
        flag: Key of the flag.
        version: Version of the traces' roots.
        experiment: Required if the version is in more than one.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started at or after this time.
        start_time_until: Only traces that started before this time.
        metrics: Any of `compare_versions`, except assessments with categorical values. Empty means
            `latency`, `error_rate` and `tokens`, as far as any trace has them.
        reference_variant: The variant to compare the others with. Empty means `control`, `off` or
            `false`, else the most frequent.
        max_traces: If more match, use a random sample of them; 0 means 50,000.
        timeout: Seconds for all attempts; None for the client's default.
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
            metrics=listed(metrics),
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
    """List how much the change from one version to another depends on flag variants.

    Args:
        baseline_version: Usually the older one.
        candidate_version: Usually the newer one.
        flag: Only this flag; empty means every flag that the candidate saw.
        experiment: Required if the versions are in more than one.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started at or after this time.
        start_time_until: Only traces that started before this time.
        metrics: As in `compare_variants`.
        reference_variant: As in `compare_variants`.
        max_traces: If more match, use a random sample of them; 0 means 50,000.
        timeout: Seconds for all attempts; None for the client's default.
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
            metrics=listed(metrics),
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
    """Return the share of traces that saw each variant, in buckets of `width`; None for about 60.

    Empty conditions do not filter. If more than `max_traces` (0 means 50,000) match, a random
    sample is used.
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
    """List when the shares of a flag's variants changed, and how metrics changed then.

    Args:
        flag: Only this flag.
        experiment: Only traces of this experiment.
        service_name: Only traces of this service.
        environment: Only traces in this environment.
        start_time_from: Only traces that started at or after this time.
        start_time_until: Only traces that started before this time.
        time: Only changes around this time, the closest first.
        version: Only changes around the first trace of this version in each service and
            environment, the closest first. Mutually exclusive with `time`.
        window: How far from the given time to look, and how long before and after a change to
            compare metrics; None for an hour.
        metrics: Any of `latency`, `error_rate`, `tokens`; empty means all.
        max_traces: If more match, use a random sample of them; 0 means 50,000.
        timeout: Seconds for all attempts; None for the client's default.
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
            metrics=listed(metrics),
            max_traces=max_traces,
        ),
        pb.ListFlagChangesResponse,
        lambda answer: answer,
        timeout,
    )
