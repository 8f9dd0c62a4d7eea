"""A month of deployments as OTLP requests: the data for the analysis benchmark.

Three services deploy a hundred versions, each first to staging and then as a canary to production.
The first 97 succeed each other during half of the month. The other half runs two versions side by
side, `BASELINE` and `CANDIDATE`, which is a twentieth slower; in the last half day, `NEWEST` runs.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from benchmarks.genai_trace import SPANS_PER_TRACE
from benchmarks.load import Template

SERVICES: Final = ("support-assistant", "search-assistant", "order-assistant")
ROUTES: Final = ("/chat", "/chat/stream", "/search", "/orders", "/feedback")
FLAG: Final = "semantic-cache"
BASELINE: Final = "2.4.0000"
CANDIDATE: Final = "2.5.0000"
NEWEST: Final = "2.6.0000"
OLDER: Final = tuple(f"2.3.{number:04}" for number in range(97))
DAYS: Final = 30
PRODUCTION: Final = "production"

_DAY_NS: Final = 86_400_000_000_000
_ANY: Final = "9.9.9999"
"""Placeholder for a version in templates, as long as any other."""
_CANARY: Final = 0.8
"""After this share of a version's time, the next version gets some of its traffic."""


def _versions(at: float) -> tuple[str, str, str]:
    """Return the live versions at a share of the month: main, canary and staging."""
    if at >= 1 - 0.5 / DAYS:
        return BASELINE, NEWEST, NEWEST
    if at >= 0.5:
        return BASELINE, CANDIDATE, CANDIDATE
    place = at * 2 * len(OLDER)
    number = int(place)
    following = OLDER[number + 1] if number + 1 < len(OLDER) else BASELINE
    return OLDER[number], following if place % 1 > _CANARY else OLDER[number], following


def requests(
    spans: int, *, now_ns: int, seed: int, first: float = 0.0, last: float = 1.0
) -> Iterator[bytes]:
    """Yield serialized ExportTraceServiceRequests in chronological order.

    Args:
        spans: Number of spans in the whole month.
        now_ns: End of the month.
        seed: Random seed; use a different one for each part of a month.
        first: Start within the month, from 0 to 1.
        last: End within the month, from 0 to 1.
    """
    # Use small requests if there are few spans, so that every version has some.
    each = 512 if spans >= 4_000_000 else 64
    of = {
        (service, environment, slower): Template(
            service, _ANY, environment, each, slower=slower, routes=ROUTES, flag=FLAG
        )
        for service in SERVICES
        for environment in (PRODUCTION, "staging")
        for slower in (1.0, 1.05)
    }
    main, *others = SERVICES
    round_of = 10
    rounds = max(1, spans // (each * round_of))
    lasts = DAYS * _DAY_NS // rounds
    step = lasts * SPANS_PER_TRACE // each
    rng = np.random.default_rng(seed)
    for number in range(int(first * rounds), int(last * rounds)):
        live, canary, staged = _versions(number / rounds)
        sent = [(main, PRODUCTION, live)] * 3 + [(main, PRODUCTION, canary)] * 2
        sent.append((main, "staging", staged))
        sent += [(service, PRODUCTION, live) for service in others for _ in range(2)]
        start = now_ns - DAYS * _DAY_NS + number * lasts
        for place, (service, environment, version) in enumerate(sent):
            slower = 1.0 if version in {BASELINE, *OLDER} else 1.05
            made = of[service, environment, slower].fill(
                rng, start + place * step // round_of, step
            )
            yield made.replace(_ANY.encode(), version.encode())
