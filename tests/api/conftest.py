"""The API on a real port, over a real store."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest

from otel_vtrack.api import Backend, add_api
from otel_vtrack.client import Client


@pytest.fixture(scope="session")
def api_loop():
    """One loop for all servers, as in the real process; grpc.aio wants no second one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def target(store, api_loop):
    """Address of a server of the API on `store`."""
    pool = ThreadPoolExecutor(4)

    async def start():
        server = grpc.aio.server(migration_thread_pool=pool)
        add_api(server, Backend(store))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, f"127.0.0.1:{port}"

    server, address = asyncio.run_coroutine_threadsafe(start(), api_loop).result(30)
    yield address
    asyncio.run_coroutine_threadsafe(server.stop(None), api_loop).result(30)
    pool.shutdown()


@pytest.fixture
def client(target):
    with Client(target, timeout=30) as opened:
        yield opened
