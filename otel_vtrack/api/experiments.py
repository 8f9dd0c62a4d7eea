"""ExperimentService."""

from otel_vtrack.api import messages
from otel_vtrack.api.service import Backend, Service
from otel_vtrack.query import experiments
from otel_vtrack.record import deletion
from otel_vtrack.record import experiments as changes
from otel_vtrack.v1 import experiments_pb2


def _message(found: experiments.Experiment) -> experiments_pb2.Experiment:
    message = experiments_pb2.Experiment(
        experiment=found.experiment,
        name=found.name,
        tags=found.tags,
        archived=found.archived,
        create_time=messages.timestamp(found.create_time_ns),
        trace_count=found.trace_count,
        service_names=found.service_names,
    )
    for name, moment in (
        ("last_update_time", found.last_update_time_ns),
        ("first_seen", found.first_seen_ns),
        ("last_seen", found.last_seen_ns),
    ):
        if moment is not None:
            getattr(message, name).CopyFrom(messages.timestamp(moment))
    return message


def _create_experiment(
    backend: Backend, request: experiments_pb2.CreateExperimentRequest
) -> experiments_pb2.CreateExperimentResponse:
    created = changes.create(backend.store, request.experiment, request.tags)
    return experiments_pb2.CreateExperimentResponse(experiment=_message(created))


def _get_experiment(
    backend: Backend, request: experiments_pb2.GetExperimentRequest
) -> experiments_pb2.GetExperimentResponse:
    found = experiments.get(backend.store, request.experiment)
    return experiments_pb2.GetExperimentResponse(experiment=_message(found))


def _search_experiments(
    backend: Backend, request: experiments_pb2.SearchExperimentsRequest
) -> experiments_pb2.SearchExperimentsResponse:
    page = experiments.search(
        backend.store,
        name_contains=request.name_contains,
        include_archived=request.include_archived,
        page_size=request.page_size,
        page_token=request.page_token,
    )
    return experiments_pb2.SearchExperimentsResponse(
        experiments=[_message(found) for found in page.experiments],
        next_page_token=page.next_page_token,
    )


def _update_experiment(
    backend: Backend, request: experiments_pb2.UpdateExperimentRequest
) -> experiments_pb2.UpdateExperimentResponse:
    updated = changes.update(
        backend.store,
        request.experiment,
        name=request.name if request.HasField("name") else None,
        archived=request.archived if request.HasField("archived") else None,
        set_tags=request.set_tags,
        delete_tags=request.delete_tags,
    )
    return experiments_pb2.UpdateExperimentResponse(experiment=_message(updated))


def _delete_experiment(
    backend: Backend, request: experiments_pb2.DeleteExperimentRequest
) -> experiments_pb2.DeleteExperimentResponse:
    gone = deletion.delete_experiment(backend.store, request.experiment, dry_run=request.dry_run)
    return experiments_pb2.DeleteExperimentResponse(**gone._asdict())


SERVICE = Service(
    experiments_pb2.DESCRIPTOR,
    "ExperimentService",
    {
        "CreateExperiment": _create_experiment,
        "GetExperiment": _get_experiment,
        "SearchExperiments": _search_experiments,
        "UpdateExperiment": _update_experiment,
        "DeleteExperiment": _delete_experiment,
    },
)
