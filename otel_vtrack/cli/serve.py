"""`vtrack serve`: runs the receiver and the API until it is stopped."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from otel_vtrack.cli import options
from otel_vtrack.settings import Settings

_log = logging.getLogger(__name__)


@click.command()
@options.takes(Settings.model_fields)
def command(config: Path | None, **given: Any) -> None:
    """Receive OTLP over gRPC and HTTP, store or forward it, and answer queries about it.

    Prints one line with its addresses once it answers. On SIGTERM or SIGINT it stores what it
    has received and exits.
    """
    settings = options.load(config, given)
    from otel_vtrack import log, server  # noqa: PLC0415 - loads the engine, which --help need not

    log.configure(settings.log_level)
    asyncio.run(server.serve(settings, _say_ready))


def _say_ready(server: Any) -> None:
    scheme = "https" if server.settings.tls_cert_file else "http"
    line = (
        f"otel-vtrack is ready: OTLP gRPC {server.grpc_address}, "
        f"HTTP {scheme}://{server.http_address}, {'; '.join(_places(server.settings))}"
    )
    try:
        click.echo(line)
    except OSError as error:
        # A full disk or a closed pipe under stdout is no reason to receive nothing.
        _log.warning("stdout cannot be written (%s): %s", error.strerror, line)


def _places(settings: Settings) -> Iterator[str]:
    if settings.store:
        yield f"store {settings.store_shown}"
    names = [each.name for each in settings.destinations]
    # The destination of --forward has a generated name, so show its address.
    names += [each.address for each in settings.all_destinations[len(names) :]]
    if names:
        yield f"forwards to {', '.join(names)}"
