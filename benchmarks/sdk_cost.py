"""What stamping costs an application: nanoseconds on each span, and milliseconds at import.

    python -m benchmarks.sdk_cost

All cases run in turns, in many short rounds, so that what else the machine does falls on all of
them alike. Processor time of the thread is measured, not the clock's; a figure is the median of the
rounds, and what a case adds is the median of its differences from the plain SDK of the same round.
"""

import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry import baggage, context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import otel_vtrack
from otel_vtrack.sdk.context import use

ONLY_STATIC = "otel-vtrack, 8 static tags"
ROUNDS = 151
SPANS = 200
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

    case: str
    ns: float
    added_ns: float
    ratio: float


class Nothing(SpanProcessor):
    """The least a processor can cost."""


class Setting(SpanProcessor):
    """The tags by the public API."""

    def on_start(self, span, parent_context=None):  # noqa: D102, ARG002
        span.set_attributes(TAGS)


def run() -> list[Row]:
    """Measure every case; the first row is the plain SDK."""
    # A test dependency, so not needed to import this module.
    from opentelemetry.processor.baggage import (  # noqa: PLC0415
        ALLOW_ALL_BAGGAGE_KEYS,
        BaggageSpanProcessor,
    )

    ours = otel_vtrack.VersionSpanProcessor(attributes=TAGS)
    with otel_vtrack.tag(session="s-1", user="u-7"):
        two_tags = context.get_current()
    in_baggage = context.Context()
    for name, value in TAGS.items():
        in_baggage = baggage.set_baggage(name, value, in_baggage)
    empty = context.Context()
    cases = {
        "plain SDK": (_start(None), empty),
        "a processor that does nothing": (_start(Nothing()), empty),
        ONLY_STATIC: (_start(ours), empty),
        "the same where tag() is used elsewhere": (_start(ours), empty),
        "otel-vtrack, 8 static and 2 dynamic": (_start(ours), two_tags),
        "set_attributes, the same 8": (_start(Setting()), empty),
        "contrib BaggageSpanProcessor, the same 8": (
            _start(BaggageSpanProcessor(ALLOW_ALL_BAGGAGE_KEYS)),
            in_baggage,
        ),
    }
    shuffle = random.Random(0)
    rounds: dict[str, list[float]] = {case: [] for case in cases}
    gc.disable()
    try:
        for _ in range(ROUNDS):
            gc.collect()
            # The first to run after a collection finds cold caches, so that is none of them, and
            # each comes after each.
            _ns_per_span(cases["plain SDK"][0])
            for case in shuffle.sample(list(cases), len(cases)):
                start, inside = cases[case]
                use.dynamic = case != ONLY_STATIC
                token = context.attach(inside)
                rounds[case].append(_ns_per_span(start))
                context.detach(token)
    finally:
        gc.enable()
    plain = rounds["plain SDK"]
    middle = statistics.median(plain)
    return [
        Row(case, statistics.median(times), added, 1 + added / middle)
        for case, times in rounds.items()
        for added in [statistics.median(map(float.__sub__, times, plain))]
    ]


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
    print(
        f"{'SDK cost, median of ' + str(ROUNDS) + ' rounds':<44}{'ns/span':>9}{'added':>9}{'':>9}"
    )
    for row in run():
        print(f"{row.case:<44}{row.ns:>9,.0f}{row.added_ns:>+9,.0f}{row.ratio:>8.2f}x")
    print(f"import otel_vtrack and all its names, beyond the SDK: {import_ms():.1f} ms")


def _start(processor: SpanProcessor | None) -> Callable:
    provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    if processor is not None:
        provider.add_span_processor(processor)
    return provider.get_tracer("benchmark").start_span


def _ns_per_span(start: Callable) -> float:
    began = time.thread_time_ns()
    for _ in range(SPANS):
        start("span").end()
    return (time.thread_time_ns() - began) / SPANS


if __name__ == "__main__":
    main()
