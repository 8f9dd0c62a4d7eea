"""What stamping costs an application: nanoseconds on each span, and milliseconds at import.

    python -m benchmarks.sdk_cost

Measured for a span that begins a trace, for a child of a span of this process, which is what most
spans are, and for a child that starts with attributes of its own.

Each case is compared with the plain SDK in pairs: some spans of the one and some of the other, one
right after the other, which of them first being left to chance. A pair is over in half a
millisecond, so what else the machine does falls on both alike, and what it does to one of them is
one of thousands. What a case adds is the median of the differences of all pairs. Where in memory
things happen to lie makes some spans slower than others for good; so all is set up anew several
times, and how far the medians of these set-ups lie apart is printed too, as is what the plain SDK
seems to add to itself. Processor time of the thread is measured, not the clock's.
"""

import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from opentelemetry import baggage, context
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import set_span_in_context

import otel_vtrack
from otel_vtrack.sdk.context import use

PLAIN = "plain SDK"
AGAIN = "the plain SDK again"
FIRST = "a span that begins a trace"
CHILD = "a child of a span of this process"
OWN = "a child with four attributes of its own"
SET_UPS = 15
PAIRS = 45
"""Of each case and kind, in each set-up."""
SPANS = 20
WARM_UP = 3
"""Spans that run before the clock does, for what the others left in the caches."""
ATTRIBUTES = {
    "http.request.method": "GET",
    "http.route": "/carts/{id}",
    "server.address": "shop.example",
    "server.port": 443,
}
TAGS = {
    "service.version": "2.4.0",
    "deployment.environment.name": "production",
    "deployment.id": "roll-out-2041",
    "vcs.ref.head.revision": "8f2d9c1b7a6e5d4c3b2a19f8e7d6c5b4a3f2e1d0",
    "vcs.ref.head.name": "main",
    "vcs.repository.url.full": "https://code.example/shop/checkout",
    "vtrack.vcs.dirty": "false",
    "cicd.pipeline.run.id": "8412233",
}


@dataclass
class Row:
    """One case: nanoseconds for starting and ending a span, and what it adds to the plain SDK.

    Args:
        least: What it adds in the set-up where that is least.
        most: And where it is most.
    """

    kind: str
    case: str
    ns: float
    added_ns: float
    least: float
    most: float
    ratio: float


class Kind(NamedTuple):
    """The spans that are started: in which context, with which attributes."""

    inside: Context
    attributes: dict[str, object] | None = None

    def ns_per_span(self, start: Callable) -> float:
        """Start and end some spans."""
        attributes = self.attributes
        token = context.attach(self.inside)
        for _ in range(WARM_UP):
            start("span", attributes=attributes).end()
        began = time.thread_time_ns()
        for _ in range(SPANS):
            start("span", attributes=attributes).end()
        took = time.thread_time_ns() - began
        context.detach(token)
        return took / SPANS


class Case(NamedTuple):
    """How an application is set up, in which context, and what else of ours it uses."""

    set_up: Callable[[], Callable]
    inside: Context = Context()
    dynamic: bool = False
    roots: bool = False
    keys: tuple[str, ...] = ()


class Nothing(SpanProcessor):
    """The least a processor can cost."""


class Setting(SpanProcessor):
    """The tags by the public API."""

    def on_start(self, span, parent_context=None):  # noqa: D102, ARG002
        span.set_attributes(TAGS)


def run() -> list[Row]:
    """Measure every case, of every kind of spans."""
    cases = _cases()
    chance = random.Random(0)
    plain: dict[str, list[float]] = {kind: [] for kind in _kinds(Context())}
    added: dict[tuple[str, str], list[list[float]]] = {
        (kind, case): [] for kind in plain for case in cases
    }
    gc.disable()
    try:
        for _ in range(SET_UPS):
            without = _start()
            for name, case in chance.sample(list(cases.items()), len(cases)):
                use.dynamic, use.roots, use.keys = case.dynamic, case.roots, case.keys
                use.more = case.dynamic or case.roots
                start = case.set_up()
                gc.collect()
                for label, kind in _kinds(case.inside).items():
                    pairs = [_pair(kind, without, start, chance) for _ in range(PAIRS)]
                    plain[label].extend(before for before, _ in pairs)
                    added[label, name].append([after - before for before, after in pairs])
    finally:
        gc.enable()
    return [_row(*labels, plain[labels[0]], it) for labels, it in added.items()]


def import_ms() -> float:
    """Return what `import otel_vtrack` and its public names take once the SDK is loaded."""
    program = (
        "import time, opentelemetry.sdk.trace\n"
        "began = time.process_time()\n"
        "from otel_vtrack import VersionSpanProcessor, detect_version, install, tag\n"
        "print((time.process_time() - began) * 1000)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        for _ in range(5)
    ]
    return statistics.median(float(it.stdout) for it in runs)


def main() -> None:
    """Print the table."""
    print(f"SDK cost, median of {SET_UPS * PAIRS} pairs; in brackets, of those of one set-up")
    kind = ""
    for row in run():
        if row.kind != kind:
            kind = row.kind
            print(f"\n{kind:<50}{'ns/span':>9}{'added':>9}{'[least, most]':>20}")
        between = f"[{row.least:+,.0f}, {row.most:+,.0f}]"
        added = f"{row.added_ns:>+9,.0f}{between:>20}{row.ratio:>7.2f}x"
        print(f"  {row.case:<48}{row.ns:>9,.0f}{added}")
    print(f"\nimport otel_vtrack and all its names, beyond the SDK: {import_ms():.1f} ms")


def _pair(kind: Kind, plain: Callable, start: Callable, chance: random.Random) -> list[float]:
    """Measure the plain SDK and another; return them in this order, whichever ran first."""
    if chance.random() < 0.5:
        return [kind.ns_per_span(plain), kind.ns_per_span(start)]
    return [kind.ns_per_span(start), kind.ns_per_span(plain)][::-1]


def _row(kind: str, case: str, plain: list[float], added: list[list[float]]) -> Row:
    usual = statistics.median(plain)
    more = statistics.median(it for pairs in added for it in pairs)
    each = [statistics.median(pairs) for pairs in added]
    return Row(kind, case, usual + more, more, min(each), max(each), 1 + more / usual)


def _kinds(inside: Context) -> dict[str, Kind]:
    child = set_span_in_context(_start()("parent"), inside)
    return {FIRST: Kind(inside), CHILD: Kind(child), OWN: Kind(child, ATTRIBUTES)}


def _cases() -> dict[str, Case]:
    # A test dependency, so not needed to import this module.
    from opentelemetry.processor.baggage import (  # noqa: PLC0415
        ALLOW_ALL_BAGGAGE_KEYS,
        BaggageSpanProcessor,
    )

    with otel_vtrack.tag(session="s-1", user="u-7"):
        two_tags = context.get_current()
    two = ("session.id", "user.id")
    two_received = baggage.set_baggage(two[0], "s-1", baggage.set_baggage(two[1], "u-7"))
    in_baggage = Context()
    for name, value in TAGS.items():
        in_baggage = baggage.set_baggage(name, value, in_baggage)

    def added() -> Callable:
        return _start(otel_vtrack.VersionSpanProcessor(attributes=TAGS))

    def contrib() -> Callable:
        return _start(BaggageSpanProcessor(ALLOW_ALL_BAGGAGE_KEYS))

    return {
        AGAIN: Case(_start),
        "a processor that does nothing": Case(lambda: _start(Nothing())),
        "otel-vtrack, 8 static tags": Case(_installed),
        "otel-vtrack, 8 static and 2 dynamic": Case(_installed, two_tags, dynamic=True),
        "8 static and 2 from baggage": Case(_installed, two_received, dynamic=True, keys=two),
        "8 static, where baggage may bring 2": Case(_installed, dynamic=True, keys=two),
        "8 static, where tag() is used elsewhere": Case(_installed, dynamic=True),
        "8 static, where set_trace_tag() is used": Case(_installed, roots=True),
        "8 static, by add_span_processor and not install": Case(added),
        "set_attributes, the same 8": Case(lambda: _start(Setting())),
        "contrib BaggageSpanProcessor, the same 8": Case(contrib, in_baggage),
    }


def _installed() -> Callable:
    provider = _provider()
    otel_vtrack.install(provider, attributes=TAGS)
    return provider.get_tracer("benchmark").start_span


def _provider() -> TracerProvider:
    return TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)


def _start(processor: SpanProcessor | None = None) -> Callable:
    provider = _provider()
    if processor is not None:
        provider.add_span_processor(processor)
    return provider.get_tracer("benchmark").start_span


if __name__ == "__main__":
    main()
