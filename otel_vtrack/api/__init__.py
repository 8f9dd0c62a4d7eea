"""The questions people, CI and other tools ask, as gRPC services."""

from typing import Final

import grpc
import grpc.aio

from otel_vtrack.api.services import AnalysisService, TraceService, VersionService
from otel_vtrack.store.client import Store
from otel_vtrack.v1 import (
    analysis_pb2,
    analysis_pb2_grpc,
    traces_pb2,
    traces_pb2_grpc,
    versions_pb2,
    versions_pb2_grpc,
)

SERVICE_NAMES: Final = tuple(
    file.services_by_name[service].full_name
    for file, service in (
        (versions_pb2.DESCRIPTOR, "VersionService"),
        (traces_pb2.DESCRIPTOR, "TraceService"),
        (analysis_pb2.DESCRIPTOR, "AnalysisService"),
    )
)
"""Full names of the services, for health and reflection."""


def add_api(server: grpc.aio.Server | grpc.Server, store: Store) -> None:
    """Serve the API on `server`, beside whatever else it serves.

    Its handlers block, so a server of `grpc.aio` needs a `migration_thread_pool`.
    """
    versions_pb2_grpc.add_VersionServiceServicer_to_server(VersionService(store), server)
    traces_pb2_grpc.add_TraceServiceServicer_to_server(TraceService(store), server)
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(AnalysisService(store), server)
