"""Where traces are sampled, each counts for as many as it stands for, in a real store."""

import random
from collections import defaultdict

import pytest

from otel_vtrack.analysis import progression, rollbacks
from otel_vtrack.query import deployments, experiments, timeline, trace_search, versions
from otel_vtrack.query.prices import BUILT_IN
from otel_vtrack.query.timeline import Place, Time

START = 1_790_000_000_000_000_000
MINUTE = 60_000
DAY_NS = 86_400_000_000_000
PLACE = Place("shop", "shop", "production")


def traces(first, count, *, failing=0, tokens=10, ms=8, one_in=""):
    return [
        {
            "trace": first + n,
            "span": first + n,
            "at": 4 * n * MINUTE,
            "ms": ms,
            "status": 2 * (n < failing),
            "trace_state": one_in,
            "attributes": {"gen_ai.usage.total_tokens": tokens + n % 2},
        }
        for n in range(count)
    ]


@pytest.fixture(params=["whole", "sampled"])
def thirty(request, send):
    """Twenty traces as they are and ten of forty, of which half fail; or all sixty of them."""
    place = {"service__version": "1", "deployment__environment__name": "production"}
    slow = {"failing": 5, "tokens": 40, "ms": 16}
    sent = [traces(100, 20)]
    if request.param == "sampled":
        sent.append(traces(200, 10, one_in="ot=th:c", **slow))
    else:
        sent += [traces(200 + 10 * part, 10, **slow) for part in range(4)]
    for _ in range(2):  # Once more, as exporters retry.
        for each in sent:
            send(*each, deployment__id="d1", **place)
    return {"stored": 30 if request.param == "sampled" else 60}


def test_counts_are_of_what_traces_stand_for(store, thirty, monkeypatch):
    [version] = versions.search(store, usage_by=BUILT_IN).versions
    [place] = version.places
    for counted in (version, place):
        assert (counted.trace_count, counted.error_trace_count) == (60, 20)
    assert version.usage.tokens.total_tokens == 20 * 10.5 + 40 * 40.5
    assert [each.trace_count for each in experiments.search(store).experiments] == [60]
    assert [each.trace_count for each in deployments.search(store).deployments] == [60]
    assert trace_search.count(store) == 60
    bars = trace_search.histogram(store, width_s=86_400).buckets
    assert sum(each.trace_count for each in bars) == 60
    assert sum(each.error_count for each in bars) == 20
    for most in (500, 25, 2):
        monkeypatch.setattr(timeline, "MOST_BUCKETS", most)
        found = timeline.activity(store)
        assert (found.width_ns >= 3_600_000_000_000) == (most == 2)
        [rows] = found.places.values()
        assert sum(each.trace_count for each in rows) == 60
        assert sum(each.seen_count for each in rows) == thirty["stored"]
    [period] = rollbacks.tell(store).periods
    assert period.period.trace_count == 60


def test_rates_and_means_are_weighted(store, thirty):
    [window] = timeline.windows(store, [Time(PLACE, "1", START, START + DAY_NS)])
    assert (window.stored_count, window.trace_count) == (thirty["stored"], 60)
    assert window.error_count == 20
    assert rollbacks.error_rate(window).value == pytest.approx(1 / 3)
    assert rollbacks._geometric(window).value == pytest.approx((8**20 * 16**40) ** (1 / 60))
    [found] = progression.tell(store).progressions
    [step] = found.steps
    assert step.trace_count == 60
    assert step.error_rate.value == pytest.approx(1 / 3)
    # Of the thirty that are stored most take 8 ms.
    assert (step.latency_p50.value, step.latency_p95.value) == (16, 16)
    # Fewer than 72 independent traces do not bound it.
    assert step.latency_p95.upper is None
    assert step.tokens_per_trace.value == pytest.approx((20 * 10.5 + 40 * 40.5) / 60)
    # Of what is sampled less is known than of as many that were looked at.
    width = step.tokens_per_trace.upper - step.tokens_per_trace.lower
    assert width == pytest.approx(7.3 if thirty["stored"] == 60 else 10.6, abs=1.5)


SAID = {"": 1, "ot=th:8": 2, "ot=th:c": 4}
"""How many traces a span stands for, by its tracestate."""


@pytest.fixture
def mixed(writer, make_spans):
    """Sixty traces whose spans say differently; what they and the failed ones count, by place.

    A place is a version, a version and an environment, or all.
    """
    draw = random.Random(1)
    every, failed = defaultdict(lambda: defaultdict(int)), defaultdict(lambda: defaultdict(int))
    sent = []
    for trace in range(1, 61):
        for span in range(draw.randint(1, 4)):
            # What all spans of version 3 say is the same.
            version = "3" if trace > 50 else draw.choice("112")
            state = "ot=th:8" if trace > 50 else draw.choice(list(SAID))
            place = draw.choice(["dev", "production"])
            status = 2 * (draw.random() < 0.3)
            fields = {"trace": trace, "span": span + 1, "status": status, "trace_state": state}
            resource = {
                "service__version": version,
                "deployment__environment__name": place,
                "deployment__id": f"{version} in {place}",
            }
            sent.append(make_spans(fields, **resource).SerializeToString())
            for key in ("all", version, (version, place)):
                for counts in (every, failed)[: 2 if status else 1]:
                    counts[key][trace] = max(counts[key][trace], SAID[state])
    draw.shuffle(sent)
    for part in (sent[::3], sent[1::3], sent[2::3], sent[::2]):
        writer.write_traces(b"".join(part))
    return lambda key: (sum(every[key].values()), sum(failed[key].values()))


def _counted(found):
    return {each.version: (each.trace_count, each.error_trace_count) for each in found}


def test_a_trace_whose_spans_tell_several_counts_counts_once(store, mixed):
    """With the greatest of those in a version, a place, a deployment, an experiment."""
    found = versions.search(store).versions
    assert _counted(found) == {version: mixed(version) for version in "123"}
    assert _counted([versions.get(store, "1")]) == {"1": mixed("1")}
    for each in found:
        for at in each.places:
            assert (at.trace_count, at.error_trace_count) == mixed((each.version, at.environment))
    here = versions.search(store, filter_="environment = 'dev'").versions
    assert _counted(here) == {version: mixed((version, "dev")) for version in "123"}
    [whole] = experiments.search(store).experiments
    assert whole.trace_count == mixed("all")[0]
    for each in deployments.search(store).deployments:
        assert each.trace_count == mixed((each.version, each.environment))[0]


@pytest.mark.parametrize("width_s", [1, 60, 3600])
def test_buckets_of_the_timeline_count_such_traces_once(store, mixed, monkeypatch, width_s):
    monkeypatch.setattr(timeline, "_width", lambda *_: width_s * 1_000_000_000)
    found = timeline.activity(store)
    counts = {
        (each.version, place.environment): each.trace_count
        for place, rows in found.places.items()
        for each in rows
    }
    assert counts == {
        (version, place): mixed((version, place))[0]
        for version in "123"
        for place in ("dev", "production")
    }
    of_3 = [each for rows in found.places.values() for each in rows if each.version == "3"]
    assert all(each.trace_count == 2 * each.stored_count for each in of_3)


def test_filters_and_orders_of_versions_count_such_traces_once(store, mixed):
    most = mixed("1")[0]
    for text, names in ((f"= {most}", ["1"]), (f"< {most}", ["3", "2"]), (f"> {most}", [])):
        page = versions.search(store, filter_=f"trace_count {text}", order_by=["trace_count"])
        assert [each.version for each in page.versions] == names
    order = ["error_trace_count DESC"]
    first = versions.search(store, order_by=order, page_size=1)
    rest = versions.search(store, order_by=order, page_token=first.next_page_token)
    found = _counted([*first.versions, *rest.versions])
    assert found == {version: mixed(version) for version in "123"}
    assert list(found) == sorted("123", key=lambda version: -mixed(version)[1])
