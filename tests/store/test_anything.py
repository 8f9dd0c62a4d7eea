"""Whatever OTLP allows comes back as it was sent, on every way in and out that there is."""

import base64
import collections
import http.server
import itertools
import json
import math
import random
import struct
import threading

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from otel_vtrack.client import Client
from otel_vtrack.query import export, export_pages
from otel_vtrack.transfer import FORMATS, What, export_to, import_from
from otel_vtrack.v1 import export_pb2, spans_pb2
from otel_vtrack.wire import framing, otlp_json, validate
from otel_vtrack.wire.signals import LOGS, TRACES

START = 1_790_000_000_000_000_000
DATA = {TRACES: TracesData, LOGS: LogsData}
PAGES = {
    TRACES: (export_pages.spans, export_pages.SPANS_START),
    LOGS: (export_pages.log_records, export_pages.LOG_RECORDS_START),
}
# Fields which OTLP has for profiles alone: a receiver of traces and logs takes them as absent.
PROFILES_ONLY = {"string_value_strindex", "key_strindex"}
ID_LENGTHS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}

# What ends badly, looks like something else, or is long for a length of one or two bytes.
TEXTS = ["", "a", "\n", "a\n", "\x00", "a\x00", "é", "漢字", "🦜", "\ufeff", "\u202e", "'", "\\"]
TEXTS += ["\\N", "\t", "\r\n", "\x85", "\u2028", "{}", "[]", "null", "nan", "true", "0", "1e5"]
TEXTS += ["\x7f", "\x1b", "x" * 127, "x" * 128, "y" * 300, "z" * 16_384]
BYTES = [b"", b"\n", b"a\n", b"\x00", b"\xff\n", b"text", bytes(8), b"\n" * 8, bytes(range(256))]
# Names that the mapping looks at, and some that it does not.
KEYS = ["service.name", "service.version", "deployment.environment.name", "session.id", "user.id"]
KEYS += [
    "gen_ai.usage.input_tokens",
    "gen_ai.request.model",
    "mlflow.traceTag.a",
    "mlflow.llm.cost",
]
KEYS += ["vcs.ref.head.revision", "vtrack.flag.ui", "gen_ai.evaluation.name", "vtrack.experiment"]
KEYS += ["gen_ai.evaluation.score.value", "container.image.tags", "mlflow.chat.tokenUsage"]
KEYS += ["mlflow.llm.cost"]
NAMES = ["exception", "feature_flag.evaluation", "gen_ai.evaluation.result", "deployment", "", "e"]
INTS = [0, 1, -1, 127, 128, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
DOUBLES = [0.0, -0.0, 1.0, 0.1, 0.1 + 0.2, 1e16, 1e22, 5e-324, 1.7976931348623157e308]
DOUBLES += [math.nan, math.inf, -math.inf]
COUNTS = [0, 1, 7, 0x301, 2**31, 2**32 - 1]
LATEST = 2**63 - 1
TIMES = [0, 1, START // 10**9, 60 * 10**9 - 1, 2**31 * 10**9, 2**32 * 10**9 - 1, 2**32 * 10**9]
TIMES += [LATEST, LATEST - 1]
MANY = {"spans": [0, 1, 2, 5], "log_records": [0, 1, 2, 5], "resource_spans": [1, 2, 3]}
MANY |= {"resource_logs": [1, 2, 3]}
# There, or there is nothing to look at.
ALWAYS = {*MANY, *ID_LENGTHS, "scope_spans", "scope_logs"}


class Anything:
    """Fills messages with whatever their descriptors allow.

    Args:
        chance: Decides.
        number: No other has it: trace ids begin with it.
        bad: How often an id or a time is one that is not taken.
    """

    def __init__(self, chance, number, *, bad=0.0):
        self.chance = chance
        self.number = number
        self.bad = bad
        self.ids = itertools.count(1)

    def request(self, signal):
        made = signal.request()
        self.fill(made)
        return made

    def fill(self, message):
        kind = message.DESCRIPTOR.name
        if kind == "KeyValue":
            self.pair(message)
        elif kind == "AnyValue":
            self.value(message)
        else:
            for field in message.DESCRIPTOR.fields:
                if field.name in ALWAYS or self.chance.random() < 0.65:
                    self.field(message, field, kind)

    def field(self, message, field, kind):
        if field.is_repeated:
            items = getattr(message, field.name)
            for _ in range(self.chance.choice(MANY.get(field.name, [0, 1, 1, 3]))):
                if field.message_type:
                    self.fill(items.add())
                else:
                    items.append(self.scalar(field, kind))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            self.fill(getattr(message, field.name))
        else:
            setattr(message, field.name, self.scalar(field, kind))

    def scalar(self, field, kind):
        choose = self.chance.choice
        if field.name in ID_LENGTHS:
            return self.id(field.name, kind)
        if field.name.endswith("_nano"):
            if kind == "Event" or self.chance.random() < self.bad:
                return choose([*TIMES, 2**63, 2**64 - 1])
            return choose([*TIMES, START + self.chance.randrange(10**11)])
        if field.enum_type:
            return choose([*field.enum_type.values_by_number, 77, -1, 2**31 - 1, -(2**31)])
        if field.type == FieldDescriptor.TYPE_STRING:
            return choose(NAMES) if kind == "Event" or field.name == "event_name" else self.text()
        return choose(BYTES if field.type == FieldDescriptor.TYPE_BYTES else COUNTS)

    def text(self):
        if self.chance.random() < 0.8:
            return self.chance.choice(TEXTS)
        ranges = self.chance.choice([(0, 128), (128, 0x800), (0xE000, 0x110000)])
        return "".join(chr(self.chance.randrange(*ranges)) for _ in range(5))

    def some_bytes(self, size):
        return bytes(self.chance.randrange(256) for _ in range(size))

    def id(self, name, kind):
        size = ID_LENGTHS[name]
        any_id = self.chance.choice(
            [self.some_bytes(size), self.some_bytes(size - 1) + b"\n", b"\n" * size, b"\xff" * size]
        )
        if kind == "Link":
            return self.chance.choice([any_id, b"", self.some_bytes(20), b"\n"])
        if self.chance.random() < self.bad:
            return self.chance.choice([b"", bytes(size), self.some_bytes(size - 3)])
        if name == "trace_id":
            which = self.number * 4 + self.chance.randrange(4)
            return which.to_bytes(8, "big") + self.chance.choice([b"\n" * 8, bytes(8)])
        if name == "span_id" and kind == "Span":
            return next(self.ids).to_bytes(4, "big") + any_id[:4]
        return self.chance.choice([any_id, bytes(size)])

    def pair(self, message, depth=0):
        message.key = self.chance.choice(KEYS) if self.chance.random() < 0.6 else self.text()
        if self.chance.random() < 0.95:
            self.value(message.value, depth)

    def value(self, message, depth=0):  # noqa: C901 - one case a kind
        choose = self.chance.choice
        kinds = [it.name for it in message.DESCRIPTOR.fields if it.name not in PROFILES_ONLY]
        match choose([None, *kinds[: 4 if depth > 4 else None]]):
            case None:
                message.SetInParent()
            case "string_value":
                message.string_value = self.text()
            case "bool_value":
                message.bool_value = choose([True, False])
            case "int_value":
                message.int_value = choose(INTS)
            case "double_value":
                (drawn,) = struct.unpack("<d", self.some_bytes(8))
                # Text keeps that it is no number, and not which bit pattern said so.
                message.double_value = choose([*DOUBLES, math.nan if math.isnan(drawn) else drawn])
            case "bytes_value":
                message.bytes_value = choose(BYTES)
            case "array_value":
                message.array_value.SetInParent()
                for _ in range(choose([0, 1, 3])):
                    self.value(message.array_value.values.add(), depth + 1)
            case "kvlist_value":
                message.kvlist_value.SetInParent()
                for _ in range(choose([0, 1, 3])):
                    self.pair(message.kvlist_value.values.add(), depth + 1)
            case other:
                pytest.fail(f"OTLP has a kind of value that is not known here: {other}")


def good(item):
    if isinstance(item, Span):
        return (
            len(item.trace_id) == 16
            and any(item.trace_id)
            and len(item.span_id) == 8
            and any(item.span_id)
            and len(item.parent_span_id) in {0, 8}
            and max(item.start_time_unix_nano, item.end_time_unix_nano) <= LATEST
        )
    return max(item.time_unix_nano, item.observed_time_unix_nano) <= LATEST


def sealed(data, signal):
    """Yield each span or log record with what it sits in, as bytes, and itself.

    What means the same in OTLP is evened out: an attribute's value that is absent or of no kind;
    a message that is absent or empty; an id of zeros and none; an id of a log record that is none.
    """
    groups = data.resource_spans if signal is TRACES else data.resource_logs
    for group in groups:
        for scoped in group.scope_spans if signal is TRACES else group.scope_logs:
            for item in scoped.spans if signal is TRACES else scoped.log_records:
                kept = DATA[signal]()
                outers = kept.resource_spans if signal is TRACES else kept.resource_logs
                outer = outers.add(schema_url=group.schema_url, resource=group.resource)
                inners = outer.scope_spans if signal is TRACES else outer.scope_logs
                inner = inners.add(schema_url=scoped.schema_url, scope=scoped.scope)
                one = (inner.spans if signal is TRACES else inner.log_records).add()
                one.CopyFrom(item)
                even_out(one)
                for owner in (outer.resource, inner.scope, one, *links_and_events(one)):
                    owner.SetInParent()
                    for pair in owner.attributes:
                        pair.value.SetInParent()
                yield kept.SerializeToString(deterministic=True), item


def even_out(item):
    if isinstance(item, Span):
        if not item.status.ByteSize():
            item.ClearField("status")
        if item.parent_span_id == bytes(8):
            item.ClearField("parent_span_id")
        return
    if not item.body.ByteSize():
        item.ClearField("body")
    if len(item.trace_id) not in {0, 16}:
        item.ClearField("trace_id")
        item.ClearField("span_id")
    if len(item.span_id) not in {0, 8}:
        item.ClearField("span_id")
    for name in ("trace_id", "span_id"):
        if not any(getattr(item, name)):
            item.ClearField(name)


def links_and_events(item):
    return [*item.links, *item.events] if isinstance(item, Span) else []


def wanted(requests, signal):
    """Return what must come back, each once: of spans by their ids, of log records as they are."""
    found = {}
    for request in requests:
        for seal, item in sealed(request, signal):
            if good(item):
                found[(item.trace_id, item.span_id) if signal is TRACES else seal] = seal
    return list(found.values())


def same(found, expected, signal):
    """Fail with what is missing and what is there instead, as text."""
    lost = collections.Counter(expected) - collections.Counter(found)
    new = collections.Counter(found) - collections.Counter(expected)
    as_text = [
        [text_format.MessageToString(DATA[signal].FromString(seal)) for seal in some]
        for some in (lost, new)
    ]
    assert as_text[0] == as_text[1]
    assert not lost
    assert not new


def as_json(message):
    """Write OTLP JSON, by no code of ours."""
    written = {}
    for field, value in message.ListFields():
        items = [json_value(field, item) for item in (value if field.is_repeated else [value])]
        written[field.json_name] = items if field.is_repeated else items[0]
    return written


def json_value(field, value):
    if field.message_type:
        return as_json(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.hex() if field.name in ID_LENGTHS else base64.b64encode(value).decode()
    if field.cpp_type in {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}:
        return str(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value


numbers = itertools.count(1)


@settings(
    max_examples=4,
    deadline=None,
    # A smaller example would take minutes to find.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chance=st.randoms(use_true_random=False), bad=st.sampled_from([0, 0, 0.05]))
def test_anything_comes_back_out_of_the_store(store, writer, chance, bad):
    make = Anything(chance, next(numbers), bad=bad)
    experiment = f"case {make.number}"
    for signal, write in ((TRACES, writer.write_traces), (LOGS, writer.write_logs)):
        requests = [make.request(signal) for _ in range(2)]
        read = signal.request()
        otlp_json.read(json.dumps(as_json(requests[1])).encode(), read)
        payloads = [requests[0].SerializeToString(), read.SerializeToString()]
        for payload in [*payloads, chance.choice(payloads)]:
            checked = getattr(validate, signal.name)(payload)
            write(framing.with_experiment(checked.payload, experiment))
        expected = wanted(requests, signal)
        page, place = PAGES[signal]
        found = []
        while place:
            what = export_pages.What(experiment=experiment)
            batches, place = page(store, what, place, chance.choice([100, 5_000]))
            for batch in batches:
                found += seals(DATA[signal].FromString(batch.otlp), signal)
        same(found, expected, signal)
        if signal is TRACES:
            ids = {seal_id(seal) for seal in expected}
            found = [seal for each in ids for seal in seals(export.trace(store, each), signal)]
            same(found, expected, signal)


def seals(data, signal):
    return [seal for seal, _ in sealed(data, signal)]


def seal_id(seal):
    return TracesData.FromString(seal).resource_spans[0].scope_spans[0].spans[0].trace_id.hex()


class Backend(http.server.BaseHTTPRequestHandler):
    """Takes OTLP, and keeps what it took in `taken` of its server."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken[self.path.removeprefix("/v1/")].append(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        """Be quiet."""


@pytest.fixture
def backend():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        server.daemon_threads = True
        server.taken = {"traces": [], "logs": []}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def send(served, signal, request, experiment, way):
    """Send a request, and return how many items of it were rejected."""
    payload = request.SerializeToString()
    if way == "grpc":
        name = {TRACES: "trace", LOGS: "logs"}[signal]
        answer = served.export(payload, name, metadata=[("x-vtrack-experiment", experiment)])
        said = signal.response.FromString(answer)
    else:
        headers = {"x-vtrack-experiment": experiment}
        if way == "json":
            payload = json.dumps(as_json(request)).encode()
            headers["Content-Type"] = "application/json"
        response = served.ask(f"/v1/{signal.name}", payload, headers)
        assert response.status == 200, response.content
        if way == "json":
            told = json.loads(response.content).get("partialSuccess", {})
            return int(told.get("rejectedSpans", told.get("rejectedLogRecords", 0)))
        said = signal.response.FromString(response.content)
    return getattr(said.partial_success, signal.rejected)


def exported(served, signal, experiment):
    request = export_pb2.ExportTelemetryRequest(
        signal={TRACES: 1, LOGS: 2}[signal], experiment=experiment, max_bytes=20_000
    )
    while True:
        answer = call(served, "ExportService/ExportTelemetry", request, export_pb2)
        for batch in answer.batches:
            yield from seals(DATA[signal].FromString(batch.otlp), signal)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def searched(served, experiment):
    request = spans_pb2.SearchSpansRequest(experiment=experiment, page_size=30)
    while True:
        answer = call(served, "SpanService/SearchSpans", request, spans_pb2)
        for span in answer.spans:
            yield from seals(TracesData.FromString(span.otlp), TRACES)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def call(served, name, request, module):
    answer = getattr(module, f"{name.partition('/')[2]}Response")
    with grpc.insecure_channel(served.grpc) as channel:
        ask = channel.unary_unary(
            f"/otel_vtrack.v1.{name}", type(request).SerializeToString, answer.FromString
        )
        return ask(request, timeout=60)


@pytest.mark.slow
def test_anything_comes_back_on_every_way_there_is(vtrack_on, tmp_path, backend):
    url = f"http://127.0.0.1:{backend.server_address[1]}"
    served = vtrack_on(tmp_path / "one", "--forward", url)
    other = vtrack_on(tmp_path / "two")
    forwarded = {TRACES: [], LOGS: []}
    for number in range(1, 13):
        chance = random.Random(number)
        make = Anything(chance, number, bad=chance.choice([0, 0, 0.05]))
        experiment = f"case {number}"
        sent = {TRACES: [], LOGS: []}
        for _ in range(4):
            signal = chance.choice([TRACES, TRACES, LOGS])
            request = make.request(signal)
            sent[signal].append(request)
            taken = [seal for seal, item in sealed(request, signal) if good(item)]
            for way in chance.sample(["grpc", "protobuf", "json"], chance.choice([1, 1, 2])):
                rejected = send(served, signal, request, experiment, way)
                assert rejected == len(seals(request, signal)) - len(taken)
                forwarded[signal] += taken
        expected = {signal: wanted(requests, signal) for signal, requests in sent.items()}
        same(list(searched(served, experiment)), expected[TRACES], TRACES)
        form = FORMATS[number % len(FORMATS)]
        with Client(served.grpc, timeout=60) as client:
            export_to(tmp_path / experiment, client, What(experiment=experiment), format=form)
        with Client(other.grpc, timeout=60) as client:
            import_from([tmp_path / experiment], client)
        for signal, seal in expected.items():
            same(list(exported(served, signal, experiment)), seal, signal)
            same(list(exported(other, signal, experiment)), seal, signal)
    # Which sends what still waits.
    assert served.stop() == 0
    for signal, seal in forwarded.items():
        received = signal.request.FromString(b"".join(backend.taken[signal.name]))
        same(seals(received, signal), seal, signal)
