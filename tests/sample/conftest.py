"""Traces with random ids that are the same in each run."""

import random

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

NOW_NS = 1_790_000_000_000_000_000
MS = 1_000_000


class Traces:
    """Makes requests of traces, each a root with a child unless told."""

    def __init__(self, seed):
        self._chance = random.Random(seed)

    def ids(self, count):
        return [self._chance.randbytes(16) for _ in range(count)]

    def request(
        self, ids, *, version="1.0", failed=(), slow=(), spans=(0, 1), state="", **resource
    ):
        """Make a request; `spans` says which of each trace's spans are in it, 0 the root.

        Of a trace that is in `failed` the last span failed, of one in `slow` the root took 3 s.
        """
        made = ExportTraceServiceRequest()
        group = made.resource_spans.add()
        named = {"service.name": "shop", "service.version": version}
        named |= {name.replace("__", "."): text for name, text in resource.items()}
        for name, text in named.items():
            group.resource.attributes.add(key=name).value.string_value = text
        scoped = group.scope_spans.add()
        scoped.scope.name = "test"
        for trace_id in ids:
            for number in spans:
                took = 3_000 if trace_id in slow and not number else 5
                span = scoped.spans.add(
                    trace_id=trace_id,
                    span_id=trace_id[:7] + bytes([number + 1]),
                    parent_span_id=trace_id[:7] + b"\x01" if number else b"",
                    trace_state=state,
                    name="checkout" if not number else f"step {number}",
                    start_time_unix_nano=NOW_NS + number,
                    end_time_unix_nano=NOW_NS + took * MS,
                )
                span.attributes.add(key="k").value.string_value = "v" * 20
                if trace_id in failed and number == spans[-1]:
                    span.status.code = 2
        return made


@pytest.fixture
def traces():
    return Traces(7)
