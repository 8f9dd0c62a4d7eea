"""The API on a real port, and the command line as a user types it."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner

from otel_vtrack.api import Backend, add_api
from otel_vtrack.cli.group import group


@pytest.fixture
def target(store):
    """Address of a server of the API on `store`."""
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        add_api(server, Backend(store))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait(10)


@pytest.fixture
def run(target):
    """Run `vtrack` with these words, against `target` unless they say otherwise."""

    def vtrack(*words, server=target):
        return CliRunner().invoke(group, words, env={"OTEL_VTRACK_SERVER": server})

    return vtrack
