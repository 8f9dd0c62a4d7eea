"""A fresh store for each test that asks for one, and short ways to put spans into it."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

START_NS = 1_790_000_000_000_000_000
_MS = 1_000_000


def _fill(pairs, values):
    from otel_vtrack.wire import anyvalue  # noqa: PLC0415 - tests of the SDK half need none of it

    for name, value in values.items():
        pairs.add(key=name, value=anyvalue.to_message(value))


@pytest.fixture
def store(tmp_path):
    """An embedded store with every table, empty."""
    from otel_vtrack.store import migrate  # noqa: PLC0415
    from otel_vtrack.store.client import Store  # noqa: PLC0415

    with Store(f"chdb://{tmp_path / 'store'}") as opened:
        migrate.apply(opened)
        yield opened


@pytest.fixture
def writer(store):
    """What writes requests into `store`."""
    from otel_vtrack.store.writer import Writer  # noqa: PLC0415

    return Writer(store)


@pytest.fixture
def make_spans():
    """Build a request of spans that share a resource.

    Each span is a dict of `trace` and `span` (small numbers; 1 unless told), `parent`,
    `at` (ms after START_NS), `ms` (how long), `attributes`, and any field of Span as it is.
    Keywords are resource attributes, `__` for a dot: `service__version="2.3.1"`.
    """

    def build(*spans, service__name="shop", **resource) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        named = {"service__name": service__name} | resource
        _fill(
            group.resource.attributes,
            {name.replace("__", "."): value for name, value in named.items()},
        )
        scoped = group.scope_spans.add()
        scoped.scope.name = "test"
        for number, fields in enumerate(spans, 1):
            given = dict(fields)
            start = START_NS + int(given.pop("at", 0) * _MS)
            end = start + int(given.pop("ms", 1) * _MS)
            span = scoped.spans.add(
                trace_id=given.pop("trace", 1).to_bytes(16, "big"),
                # Ids differ in their first four bytes, as random ones do.
                span_id=given.pop("span", number).to_bytes(4, "big") * 2,
                name=given.pop("name", f"step {number}"),
                start_time_unix_nano=start,
                end_time_unix_nano=end,
            )
            if parent := given.pop("parent", 0):
                span.parent_span_id = parent.to_bytes(4, "big") * 2
            if code := given.pop("status", 0):
                span.status.code = code
            _fill(span.attributes, given.pop("attributes", {}))
            for name, value in given.items():
                setattr(span, name, value)
        return request

    return build


@pytest.fixture
def send(writer, make_spans):
    """Write what `make_spans` builds, and return the request."""

    def write(*spans, **resource) -> ExportTraceServiceRequest:
        request = make_spans(*spans, **resource)
        writer.write_traces(request.SerializeToString())
        return request

    return write


@pytest.fixture
def trace_id():
    """Hex of a small number's trace id, as `make_spans` makes it."""
    return lambda number=1: f"{number:032x}"
