"""What stamping costs an application: nanoseconds on each span, and milliseconds at import.

    python -m benchmarks.sdk_cost

Measured for a span that begins a trace and for a child of a span of this process, which is what
most spans are. All cases run in turns, in many short rounds, so that what else the machine does
falls on all of them alike. Processor time of the thread is measured, not the clock's; a figure is
the median of the rounds, and what a case adds is the median of its differences from the plain SDK
of the same round.
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
FIRST = "a span that begins a trace"
CHILD = "a child of a span of this process"
ROUNDS = 81
SPANS = 500
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
    """One case: nanoseconds for starting and ending a span, and what it adds to the plain SDK."""

    kind: str
    case: str
    ns: float
    added_ns: float
    ratio: float


class Case(NamedTuple):
    """How a span is started, in which context, and what else of ours the application uses."""

    start: Callable
    inside: dict[str, Context]
    dynamic: bool = False
    roots: bool = False

    def ns_per_span(self, kind: str) -> float:
        """Start and end some spans."""
        use.dynamic, use.roots, use.more = self.dynamic, self.roots, self.dynamic or self.roots
        token = context.attach(self.inside[kind])
        began = time.thread_time_ns()
        for _ in range(SPANS):
            self.start("span").end()
        took = time.thread_time_ns() - began
        context.detach(token)
        return took / SPANS


class Nothing(SpanProcessor):
    """The least a processor can cost."""


class Setting(SpanProcessor):
    """The tags by the public API."""

    def on_start(self, span, parent_context=None):  # noqa: D102, ARG002
        span.set_attributes(TAGS)


def run() -> list[Row]:
    """Measure every case, of both kinds of spans."""
    cases = _cases()
    shuffle = random.Random(0)
    rounds: dict[tuple[str, str], list[float]] = {
        (kind, case): [] for kind in (FIRST, CHILD) for case in cases
    }
    gc.disable()
    try:
        for _ in range(ROUNDS):
            gc.collect()
            # The first to run after a collection finds cold caches, so that is none of them, and
            # each comes after each.
            cases[PLAIN].ns_per_span(FIRST)
            for kind, case in shuffle.sample(list(rounds), len(rounds)):
                rounds[kind, case].append(cases[case].ns_per_span(kind))
    finally:
        gc.enable()
    rows = []
    for (kind, case), times in rounds.items():
        plain = rounds[kind, PLAIN]
        added = statistics.median(map(float.__sub__, times, plain))
        ratio = 1 + added / statistics.median(plain)
        rows.append(Row(kind, case, statistics.median(times), added, ratio))
    return rows


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
    print(f"SDK cost, median of {ROUNDS} rounds")
    kind = ""
    for row in run():
        if row.kind != kind:
            kind = row.kind
            print(f"\n{kind:<56}{'ns/span':>9}{'added':>9}")
        print(f"  {row.case:<54}{row.ns:>9,.0f}{row.added_ns:>+9,.0f}{row.ratio:>8.2f}x")
    print(f"\nimport otel_vtrack and all its names, beyond the SDK: {import_ms():.1f} ms")


def _cases() -> dict[str, Case]:
    # A test dependency, so not needed to import this module.
    from opentelemetry.processor.baggage import (  # noqa: PLC0415
        ALLOW_ALL_BAGGAGE_KEYS,
        BaggageSpanProcessor,
    )

    empty = _both_kinds(Context())
    with otel_vtrack.tag(session="s-1", user="u-7"):
        two_tags = _both_kinds(context.get_current())
    in_baggage = Context()
    for name, value in TAGS.items():
        in_baggage = baggage.set_baggage(name, value, in_baggage)
    contrib = BaggageSpanProcessor(ALLOW_ALL_BAGGAGE_KEYS)
    installed = _provider()
    otel_vtrack.install(installed, attributes=TAGS)
    ours = installed.get_tracer("benchmark").start_span
    added = _start(otel_vtrack.VersionSpanProcessor(attributes=TAGS))
    return {
        PLAIN: Case(_start(), empty),
        "a processor that does nothing": Case(_start(Nothing()), empty),
        "otel-vtrack, 8 static tags": Case(ours, empty),
        "otel-vtrack, 8 static and 2 dynamic": Case(ours, two_tags, dynamic=True),
        "8 static, where tag() is used elsewhere": Case(ours, empty, dynamic=True),
        "8 static, where set_trace_tag() is used": Case(ours, empty, roots=True),
        "8 static, by add_span_processor and not install": Case(added, empty),
        "set_attributes, the same 8": Case(_start(Setting()), empty),
        "contrib BaggageSpanProcessor, the same 8": Case(_start(contrib), _both_kinds(in_baggage)),
    }


def _provider() -> TracerProvider:
    return TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)


def _start(processor: SpanProcessor | None = None) -> Callable:
    provider = _provider()
    if processor is not None:
        provider.add_span_processor(processor)
    return provider.get_tracer("benchmark").start_span


def _both_kinds(inside: Context) -> dict[str, Context]:
    return {FIRST: inside, CHILD: set_span_in_context(_start()("parent"), inside)}


if __name__ == "__main__":
    main()
