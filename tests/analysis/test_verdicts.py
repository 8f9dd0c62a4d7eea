"""How often verdicts are wrong, and how often they find what is there, by simulation."""

import math
from collections import Counter

import numpy as np
import pytest

from otel_vtrack.analysis import comparing, examine
from otel_vtrack.analysis.compare import Verdict
from otel_vtrack.analysis.data import Strata
from otel_vtrack.analysis.metrics import MetricQuery, parse
from otel_vtrack.analysis.units import Units

pytestmark = pytest.mark.slow

ROW = [
    *(("trace_id", "V16"), ("side", "u1"), ("cluster", "<u8"), ("user", "<u8")),
    ("adjusted_count", "<f4"),
]
SESSIONS = 40


def world(rng, metric, *, slower=1.0, tail=1.0, routes=False):
    """Both versions' values, in sessions that resemble each other; and their routes."""
    sizes = rng.integers(1, 9, 2 * SESSIONS)
    session = np.repeat(np.arange(2 * SESSIONS), sizes)
    rows = np.zeros(len(session), ROW)
    candidate = session >= SESSIONS
    rows["side"], rows["cluster"], rows["adjusted_count"] = 1 + candidate, session, 1
    # The candidate gets four times as many of the slow route.
    route = (rng.random(len(session)) < np.where(candidate, 0.8, 0.2)).astype(np.int64)
    of_session = rng.normal(0, 0.4, 2 * SESSIONS)[session]
    if metric == "error_rate":
        chance = 1 / (1 + np.exp(2.5 - 2 * of_session - 1.5 * routes * route))
        values = (rng.random(len(session)) < chance).astype(float)
    else:
        log = math.log(100) + of_session + rng.normal(0, 0.5, len(session))
        values = np.exp(log + (math.log(3) * route if routes else 0))
        values = np.where(candidate, values * slower, values)
        far = candidate & (rng.random(len(session)) < 0.08)
        values = np.where(far, values * tail, values)
    strata = Strata(("route",), route, lambda code: {"route": str(code)}, True) if routes else None
    return Units(parse(MetricQuery(metric)), values, rows), strata


def verdicts(metric, count=500, seed=1, **planted):
    rng = np.random.default_rng(seed)
    found = Counter()
    for _ in range(count):
        each = comparing._Examined(*(made := world(rng, metric, **planted)), examine.examine(*made))
        comparing._adjust([each])
        found[comparing.verdict(each.found).verdict] += 1 / count
    return found


@pytest.mark.parametrize("routes", [False, True])
@pytest.mark.parametrize("metric", ["latency", "error_rate", "tokens"])
def test_no_more_than_five_in_a_hundred_equal_versions_are_told_apart(metric, routes):
    found = verdicts(metric, routes=routes)
    assert found[Verdict.REGRESSED] + found[Verdict.IMPROVED] < 0.07, found
    assert found[Verdict.REGRESSED] + found[Verdict.IMPROVED] > 0.015, found


@pytest.mark.parametrize(
    ("planted", "least"),
    [
        ({"slower": 1.5}, 0.9),
        ({"slower": 1.5, "routes": True}, 0.8),
        ({"tail": 8.0}, 0.5),
    ],
)
def test_what_is_slower_is_found(planted, least):
    found = verdicts("latency", 200, **planted)
    assert found[Verdict.REGRESSED] > least, found
    assert found[Verdict.IMPROVED] < 0.02, found
