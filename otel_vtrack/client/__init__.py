"""Typed clients for the gRPC API.

    with Client("127.0.0.1:4317") as client:
        for trace in client.search_traces(version="2.4.0", state="error", limit=20):
            print(trace.trace_id, trace.name)
        slow = client.search_traces("execution_time > 2s").to_pandas()

    async with AsyncClient("127.0.0.1:4317") as client:
        async for trace in client.search_traces("execution_time > 2s"):
            print(trace.trace_id)

They need only a base install, not the server extra; `to_pandas()` and `to_arrow()` also need
`otel-vtrack[analysis]`.
"""

from otel_vtrack.client.aio import AsyncClient
from otel_vtrack.client.blocking import Client
from otel_vtrack.client.results import Comparison, Histogram, Records, Trace
from otel_vtrack.client.search import AsyncSearch, Search
from otel_vtrack.client.traces import trace_filter
from otel_vtrack.client.values import UNSET

__all__ = [
    "UNSET",
    "AsyncClient",
    "AsyncSearch",
    "Client",
    "Comparison",
    "Histogram",
    "Records",
    "Search",
    "Trace",
    "trace_filter",
]
