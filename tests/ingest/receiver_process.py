"""A receiver in a process of its own, for tests that measure the process.

Prints the gRPC and the HTTP port, then one line a payload with its length, and ends with its
standard input.
"""

import asyncio
import sys

import grpc.aio
import uvicorn
from starlette.applications import Starlette

from otel_vtrack.ingest import otlp_grpc, otlp_http
from otel_vtrack.ingest.commit import GroupCommit
from otel_vtrack.ingest.receiver import Receiver


def write(payload: bytes) -> None:
    print(len(payload), flush=True)


async def main() -> None:
    receiver = Receiver(GroupCommit(write, name="traces"), GroupCommit(write, name="logs"))
    server = grpc.aio.server(options=otlp_grpc.server_options())
    otlp_grpc.add_otlp(server, receiver)
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    web = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=otlp_http.otlp_routes(receiver)),
            host="127.0.0.1",
            port=0,
            ws="none",
            lifespan="off",
            log_config=None,
        )
    )
    serving = asyncio.create_task(web.serve())
    while not web.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(grpc_port, web.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    web.should_exit = True
    await serving
    await server.stop(None)


asyncio.run(main())
