"""OpenTelemetry's consistent probability sampling: one random number per trace for all samplers.

Source: the specification's "TraceState: Probability Sampling" and "Probability sampling" of the
Trace SDK. A trace has 56 random bits and is kept if they are not less than a threshold. So a
strict sampler keeps a subset of what a lenient one keeps, wherever they run.
"""

import re
from typing import Final

BITS: Final = 56
MOST: Final = 1 << BITS
"""The threshold that keeps nothing."""

_RANDOM: Final = re.compile(rb"(?:^|,)[ \t]*ot=(?:[^,]*;)?rv:([0-9a-f]{14})[ \t]*(?:[;,]|$)")


def of_trace(trace_id: bytes, trace_state: bytes) -> int:
    """Return a trace's randomness: `ot=rv:` of its tracestate, else the last 7 bytes of its id."""
    if trace_state and (told := _RANDOM.search(trace_state)):
        return int(told[1], 16)
    return int.from_bytes(trace_id[-7:], "big")


def threshold(probability: float) -> int:
    """Return the threshold that keeps a trace with the given probability."""
    return round((1 - probability) * MOST)


def adjusted_count(threshold: int) -> float:
    """Return how many traces are represented by one that passed the threshold."""
    return MOST / (MOST - threshold)
