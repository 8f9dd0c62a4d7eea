"""The query API for people, CI and other tools: one set of handlers, served over every protocol."""

from concurrent.futures import Executor
from typing import Final

import grpc
import grpc.aio
from starlette.routing import Route

from otel_vtrack.api import (
    analysis,
    assessments,
    connect_wire,
    deployments,
    experiments,
    export,
    flags,
    grpc_wire,
    spans,
    timeline,
    traces,
    versions,
    watch,
)
from otel_vtrack.api.service import Backend
from otel_vtrack.ingest.room import Room

SERVICES: Final = (
    versions.SERVICE,
    traces.SERVICE,
    analysis.SERVICE,
    experiments.SERVICE,
    deployments.SERVICE,
    timeline.SERVICE,
    flags.SERVICE,
    watch.SERVICE,
    assessments.SERVICE,
    spans.SERVICE,
    export.SERVICE,
)
SERVICE_NAMES: Final = tuple(service.full_name for service in SERVICES)
"""Full service names, for health checks and reflection."""

__all__ = ["SERVICES", "SERVICE_NAMES", "Backend", "add_api", "api_routes"]


def add_api(server: grpc.aio.Server | grpc.Server, backend: Backend) -> None:
    """Serve the API on `server`, alongside its other services.

    Handlers block, so a `grpc.aio` server needs a `migration_thread_pool`.
    """
    grpc_wire.add_services(server, SERVICES, backend)


def api_routes(backend: Backend, pool: Executor, *, max_body_bytes: int, room: Room) -> list[Route]:
    """Return the API's HTTP routes; handlers block, so they run in `pool`."""
    return connect_wire.routes(SERVICES, backend, pool, max_body_bytes=max_body_bytes, room=room)
