"""One trace of a GenAI service, with markers where values change from trace to trace.

POST /chat                      server, the root
└── invoke_agent support
    ├── retrieval handbook
    │   └── embeddings
    ├── chat gpt-4.1            requests a tool call
    ├── execute_tool find_order
    │   └── GET                 the call to another service
    └── chat gpt-4.1            answers
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

SPANS_PER_TRACE: Final = 8

_PARENTS: Final = (None, 0, 1, 2, 1, 1, 5, 1)
# Start of each span after the trace's start, and its duration, in ms, before a version's slowdown.
_OFFSETS: Final = (0, 2, 4, 5, 90, 610, 615, 790)
_LASTS: Final = (1_300, 1_290, 80, 40, 500, 170, 150, 480)

_LEAD: Final = b"\x01~M"


def commit_of(version: str) -> str:
    """Return a fake git commit for a version, always the same one."""
    return hashlib.sha256(version.encode()).hexdigest()[:40]


def _set(target: Any, **attributes: object) -> None:
    """Append attributes; a double underscore in a name stands for a dot."""
    for name, value in attributes.items():
        pair: KeyValue = target.attributes.add(key=name.replace("__", "."))
        if isinstance(value, int):
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        elif isinstance(value, list):
            for item in value:
                pair.value.array_value.values.add(string_value=item)
        else:
            pair.value.string_value = str(value)


def resource_of(resource: Resource, service: str, version: str, environment: str) -> None:
    """Set the attributes of the sending process: service, version, environment, commit."""
    attributes = {
        "service.name": service,
        "service.namespace": "shop",
        "service.version": version,
        "service.instance.id": "0d1ce5f0-7a1c-4f7e-9d8e-" + commit_of(environment)[:12],
        "deployment.environment.name": environment,
        "vcs.ref.head.name": "main",
        "vcs.ref.head.revision": commit_of(version),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": "1.45.2",
    }
    for key, value in attributes.items():
        resource.attributes.add(key=key).value.string_value = value


class TraceTemplate:
    """Spans whose variable values are 8-byte markers, and the code to locate the markers.

    A marker is a lead, one byte for its kind, and a number: that of the trace, of the span, or
    unused.

    Args:
        failing_share: Share of traces that fail.
        routes: Routes of the roots, in turn.
        flag: A feature flag that roots evaluate, `on` in every second trace of a route.
    """

    KINDS: ClassVar = ("trace_id", "span_id", "start", "end", "word", "session", "user")

    def __init__(
        self, *, failing_share: float, routes: Sequence[str] = ("/chat",), flag: str = ""
    ) -> None:
        self._failing_share = failing_share
        self._routes = routes
        self._flag = flag

    def _mark(self, kind: str, number: int) -> bytes:
        return _LEAD + bytes([65 + self.KINDS.index(kind)]) + b"%04x" % number

    def _text(self, kind: str, number: int, times: int = 1) -> str:
        return (self._mark(kind, number) * times).decode()

    def markers(self, raw: bytes) -> Iterator[tuple[str, int, int]]:
        """Yield kind, number and byte offset of each marker in a serialized span."""
        at = raw.find(_LEAD)
        while at >= 0:
            yield self.KINDS[raw[at + 3] - 65], int(raw[at + 4 : at + 8], 16), at
            at = raw.find(_LEAD, at + 8)

    def timing(self, traces: int, slower: float) -> tuple[Any, Any]:
        """Return span starts, relative to the trace's, and durations, both in nanoseconds."""
        offsets = np.tile(np.array(_OFFSETS) * 1e6 * slower, (traces, 1))
        lasts = np.tile(np.array(_LASTS) * 1e6 * slower, (traces, 1))
        return offsets, lasts

    def spans(self, trace: int, version: str) -> list[Span]:
        """Return the eight spans of trace number `trace`; in failing traces, some have failed."""
        every = round(1 / self._failing_share) if self._failing_share else 0
        failed = bool(every) and trace % every == every - 1
        made: list[Span] = []
        for index, parent in enumerate(_PARENTS):
            number = trace * SPANS_PER_TRACE + index
            (start,) = struct.unpack("<Q", self._mark("start", number))
            (end,) = struct.unpack("<Q", self._mark("end", number))
            span = Span(
                trace_id=self._mark("trace_id", 2 * trace) + self._mark("trace_id", 2 * trace + 1),
                span_id=self._mark("span_id", number),
                start_time_unix_nano=start,
                end_time_unix_nano=end,
                kind=Span.SPAN_KIND_INTERNAL,
                flags=256,
            )
            if parent is not None:
                span.parent_span_id = self._mark("span_id", trace * SPANS_PER_TRACE + parent)
            self._describe(span, index, trace, version)
            made.append(span)
        if self._flag:
            (asked,) = struct.unpack("<Q", self._mark("start", trace * SPANS_PER_TRACE))
            event = made[0].events.add(name="feature_flag.evaluation", time_unix_nano=asked)
            _set(
                event,
                feature_flag__key=self._flag,
                feature_flag__result__variant="on" if trace // len(self._routes) % 2 else "off",
            )
        if failed:
            for index in (0, 1, 5, 6):
                made[index].status.code = Status.STATUS_CODE_ERROR
                _set(made[index], error__type="TimeoutError")
            (thrown,) = struct.unpack("<Q", self._mark("end", trace * SPANS_PER_TRACE + 6))
            event = made[6].events.add(name="exception", time_unix_nano=thrown)
            _set(
                event,
                exception__type="TimeoutError",
                exception__message="inventory did not answer within 0.5 s",
            )
        return made

    def _describe(self, span: Span, index: int, trace: int, version: str) -> None:
        session, user = self._text("session", trace), self._text("user", trace)
        who = {"session__id": "sess-" + session, "user__id": "user-" + user}
        asked = 40 + trace % 60
        match index:
            case 0:
                route = self._routes[trace % len(self._routes)]
                span.name, span.kind = f"POST {route}", Span.SPAN_KIND_SERVER
                _set(
                    span,
                    http__request__method="POST",
                    http__route=route,
                    url__path=route,
                    url__scheme="https",
                    http__response__status_code=200,
                    server__address="assistant.shop.example",
                    client__address="203.0.113.9",
                    user_agent__original="Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101",
                    app_version=version,
                    **who,
                )
            case 1:
                span.name = "invoke_agent support"
                _set(
                    span,
                    gen_ai__operation__name="invoke_agent",
                    gen_ai__provider__name="openai",
                    gen_ai__agent__name="support",
                    gen_ai__agent__id="asst_5j66UpCpwteGg4YSxUnt7lPY",
                    gen_ai__conversation__id="conv-" + session,
                    gen_ai__input__messages=self._message("user", 22),
                    gen_ai__output__messages=self._message("assistant", 26),
                    **who,
                )
            case 2:
                span.name, span.kind = "retrieval handbook", Span.SPAN_KIND_CLIENT
                _set(
                    span,
                    gen_ai__operation__name="retrieval",
                    gen_ai__data_source__id="handbook",
                    gen_ai__retrieval__query__text=self._text("word", 0, 14),
                    gen_ai__retrieval__documents=self._text("word", 0, 34),
                    gen_ai__request__top_k=5,
                    **who,
                )
            case 3:
                span.name, span.kind = "embeddings text-embedding-3-small", Span.SPAN_KIND_CLIENT
                _set(
                    span,
                    gen_ai__operation__name="embeddings",
                    gen_ai__provider__name="openai",
                    gen_ai__request__model="text-embedding-3-small",
                    gen_ai__request__encoding_formats=["base64"],
                    gen_ai__embeddings__dimension__count=1536,
                    gen_ai__usage__input_tokens=asked,
                    server__address="api.openai.com",
                    **who,
                )
            case 5:
                span.name = "execute_tool find_order"
                _set(
                    span,
                    gen_ai__operation__name="execute_tool",
                    gen_ai__tool__name="find_order",
                    gen_ai__tool__type="function",
                    gen_ai__tool__call__id="call_" + session,
                    gen_ai__tool__call__arguments='{"order": "' + self._text("word", 0, 2) + '"}',
                    gen_ai__tool__call__result='{"state": "' + self._text("word", 0, 16) + '"}',
                    **who,
                )
            case 6:
                span.name, span.kind = "GET", Span.SPAN_KIND_CLIENT
                _set(
                    span,
                    http__request__method="GET",
                    url__full="https://inventory.shop.example/orders/" + session,
                    http__response__status_code=200,
                    server__address="inventory.shop.example",
                    server__port=443,
                    network__protocol__version="1.1",
                    **who,
                )
            case _:
                span.name, span.kind = "chat gpt-4.1", Span.SPAN_KIND_CLIENT
                _set(
                    span,
                    gen_ai__operation__name="chat",
                    gen_ai__provider__name="openai",
                    gen_ai__request__model="gpt-4.1",
                    gen_ai__request__temperature=0.2,
                    gen_ai__request__max_tokens=1024,
                    gen_ai__response__model="gpt-4.1-2025-04-14",
                    gen_ai__response__id="chatcmpl-" + session,
                    gen_ai__response__finish_reasons=["stop" if index == 7 else "tool_calls"],
                    gen_ai__usage__input_tokens=asked + 400 * (index == 7),
                    gen_ai__usage__output_tokens=90 + trace % 30,
                    gen_ai__input__messages=self._message("user", 28),
                    gen_ai__output__messages=self._message("assistant", 30),
                    **who,
                )

    def _message(self, role: str, words: int) -> str:
        text = self._text("word", 0, words)
        return f'[{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}]'
