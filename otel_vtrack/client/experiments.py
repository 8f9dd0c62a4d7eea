"""Calls that find and change experiments."""

from collections.abc import Iterable, Mapping

from otel_vtrack.client.call import Call, Pages, once, repeatable
from otel_vtrack.client.values import listed
from otel_vtrack.v1 import experiments_pb2 as pb


def create_experiment(
    experiment: str, *, tags: Mapping[str, str] | None = None, timeout: float | None = None
) -> Call[pb.Experiment]:
    """Create an experiment before its telemetry arrives."""
    return once(
        "ExperimentService/CreateExperiment",
        pb.CreateExperimentRequest(experiment=experiment, tags=tags),
        pb.CreateExperimentResponse,
        lambda answer: answer.experiment,
        timeout,
    )


def get_experiment(experiment: str, *, timeout: float | None = None) -> Call[pb.Experiment]:
    """Return an experiment by its identifier in telemetry or its display name."""
    return repeatable(
        "ExperimentService/GetExperiment",
        pb.GetExperimentRequest(experiment=experiment),
        pb.GetExperimentResponse,
        lambda answer: answer.experiment,
        timeout,
    )


def search_experiments(
    *,
    name_contains: str = "",
    include_archived: bool = False,
    limit: int | None = None,
    page_size: int = 0,
    timeout: float | None = None,
) -> Pages[pb.Experiment]:
    """List experiments in order of name; `name_contains` ignores case."""
    return Pages(
        method="ExperimentService/SearchExperiments",
        request=pb.SearchExperimentsRequest(
            name_contains=name_contains, include_archived=include_archived, page_size=page_size
        ),
        response=pb.SearchExperimentsResponse,
        item=pb.Experiment,
        field="experiments",
        limit=limit,
        timeout=timeout,
    )


def update_experiment(
    experiment: str,
    *,
    name: str | None = None,
    archived: bool | None = None,
    set_tags: Mapping[str, str] | None = None,
    delete_tags: Iterable[str] = (),
    timeout: float | None = None,
) -> Call[pb.Experiment]:
    """Rename, archive, restore or tag an experiment; omitted fields stay unchanged.

    `experiment` is its identifier in telemetry or its display name. `set_tags` adds to the tags.
    """
    return once(
        "ExperimentService/UpdateExperiment",
        pb.UpdateExperimentRequest(
            experiment=experiment,
            name=name,
            archived=archived,
            set_tags=set_tags,
            delete_tags=listed(delete_tags),
        ),
        pb.UpdateExperimentResponse,
        lambda answer: answer.experiment,
        timeout,
    )


def delete_experiment(
    experiment: str, *, dry_run: bool = False, timeout: float | None = None
) -> Call[pb.DeleteExperimentResponse]:
    """Delete an experiment and everything in it or, with `dry_run`, count what would be deleted."""
    describe = repeatable if dry_run else once
    return describe(
        "ExperimentService/DeleteExperiment",
        pb.DeleteExperimentRequest(experiment=experiment, dry_run=dry_run),
        pb.DeleteExperimentResponse,
        lambda answer: answer,
        timeout,
    )
