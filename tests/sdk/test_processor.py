"""What VersionSpanProcessor puts on spans, and what it leaves alone."""

import concurrent.futures
import functools
import logging
import sys
from types import SimpleNamespace

import pytest
from opentelemetry.context import set_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult

import otel_vtrack
from otel_vtrack.sdk import detect, merge
from otel_vtrack.sdk import processor as processors
from otel_vtrack.sdk.context import use
from otel_vtrack.sdk.processor import VersionSpanProcessor

VERSION = "service.version"


def add(provider, **tags):
    provider.add_span_processor(VersionSpanProcessor(**tags))


def put_before(provider, **tags):
    otel_vtrack.install(provider, **tags)
    # After a span like those to come they are stamped the short way.
    provider.get_tracer("first").start_span("first")


def stamped(recording, **tags):
    add(recording.provider, **tags)
    return recording


@pytest.fixture
def only_static(monkeypatch):
    """Nobody in this process has used dynamic tags yet."""
    for name in ("dynamic", "roots", "more", "_looking"):
        monkeypatch.setattr(use, name, False)


@pytest.fixture(params=["short", "fast", "public API"])
def way(request, monkeypatch):
    """All ways to put attributes on a span have to give the same."""
    if request.param == "short":
        request.getfixturevalue("only_static")
        monkeypatch.setattr(sys.modules[__name__], "add", put_before)
    elif request.param == "public API":
        monkeypatch.setattr("otel_vtrack.sdk.processor.works_here", lambda: False)
    return request.param


def test_every_span_carries_the_static_tags(record, way):
    recording = stamped(record(), version="1.4.2", environment="production", team="search")
    for name in ("parent", "child"):
        assert recording.span(name).attributes == {
            VERSION: "1.4.2",
            "deployment.environment.name": "production",
            "team": "search",
        }


def test_user_attributes_win_over_ours(record, way):
    recording = stamped(record(), version="1", team="ours", region="ours")
    span = recording.tracer.start_span("s", attributes={"team": "theirs", "n": 1})
    span.set_attribute("region", "later")
    span.set_attributes({"deployment.id": "d"})
    span.end()
    assert recording.named("s") == {
        VERSION: "1",
        "team": "theirs",
        "region": "later",
        "deployment.id": "d",
        "n": 1,
    }


def test_attributes_of_a_sampler_and_of_other_processors_win_over_ours(record, way):
    class Naming(Sampler):
        def should_sample(self, *args, **kwargs):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, {"team": "sampler"})

        def get_description(self):
            return "Naming"

    class Setting(SpanProcessor):
        def on_start(self, span, parent_context=None):
            span.set_attribute("region", "processor")

    recording = stamped(record(sampler=Naming()), team="ours", region="ours")
    recording.provider.add_span_processor(Setting())
    assert recording.attributes() == {"team": "sampler", "region": "processor"}


def test_tags_that_find_no_room_are_left_out_and_counted(record, way):
    recording = stamped(
        record(span_limits=SpanLimits(max_span_attributes=3)), version="1", one="1", two="2"
    )
    span = recording.span(attributes={"a": 1, "b": 2})
    assert span.attributes == {"a": 1, "b": 2, VERSION: "1"}, "the version goes last"
    if way != "public API":
        assert span.dropped_attributes == 2


def test_a_full_span_loses_no_attribute_to_our_tags(record, way):
    recording = stamped(record(span_limits=SpanLimits(max_span_attributes=2)), version="1")
    assert recording.attributes(attributes={"a": 1, "b": 2}) == {"a": 1, "b": 2}


def test_a_limit_of_no_attributes_is_kept(record, way):
    recording = stamped(record(span_limits=SpanLimits(max_span_attributes=0)), version="1")
    assert recording.attributes() == {}


def test_a_processor_keeps_to_each_provider_s_limits_and_spans_share_nothing(record, way):
    processor = VersionSpanProcessor(version="1", one="1")
    recording = record()
    tight = record(span_limits=SpanLimits(max_span_attributes=1))
    short = record(span_limits=SpanLimits(max_span_attribute_length=1))
    for each in (recording, tight, short):
        each.provider.add_span_processor(processor)
    for n in range(3):
        span = recording.tracer.start_span(f"s{n}")
        span.set_attribute("own", n)
        span.end()
        assert recording.named(f"s{n}") == {VERSION: "1", "one": "1", "own": n}
        assert tight.attributes() == {VERSION: "1"}
        assert tight.attributes(attributes={"a": 1}) == {"a": 1}
        assert short.attributes(attributes={"a": "bc"}) == {VERSION: "1", "one": "1", "a": "b"}


def test_no_limit_at_all_is_fine(record, way):
    unlimited = SpanLimits(max_span_attributes=SpanLimits.UNSET, max_attributes=SpanLimits.UNSET)
    recording = stamped(record(span_limits=unlimited), version="1")
    given = {f"a{n}": n for n in range(300)}
    assert recording.attributes(attributes=given) == {VERSION: "1", **given}


def test_an_application_that_exceeds_the_limit_later_evicts_our_tags_first(record):
    recording = stamped(record(span_limits=SpanLimits(max_span_attributes=4)), version="1", one="1")
    span = recording.tracer.start_span("s", attributes={"a": 1, "b": 2})
    span.set_attribute("c", 3)
    span.end()
    assert recording.named("s") == {VERSION: "1", "a": 1, "b": 2, "c": 3}


def test_values_are_cut_to_the_length_limit(record, way):
    limits = SpanLimits(max_span_attribute_length=3)
    recording = stamped(
        record(span_limits=limits), version="1.2.3.4", names=["abcdef", "x"], number=12345
    )
    assert recording.attributes(attributes={"a": "abcdef"}) == {
        VERSION: "1.2",
        "names": ("abc", "x"),
        "number": 12345,
        "a": "abc",
    }


def test_each_provider_gets_the_version_of_its_own_resource(record):
    processor = VersionSpanProcessor()
    one = record(resource=Resource({VERSION: "1"}))
    two = record(resource=Resource({VERSION: "2"}))
    for recording in (one, two):
        recording.provider.add_span_processor(processor)
    found = [recording.attributes()[VERSION] for recording in (one, two, one)]
    assert found == ["1", "2", "1"]


def test_static_tags_are_worked_out_once_for_each_resource(record, monkeypatch):
    asked = []
    attributes = detect.Detection.attributes
    monkeypatch.setattr(
        detect.Detection, "attributes", lambda *args: asked.append(1) or attributes(*args)
    )
    processor = VersionSpanProcessor()
    recordings = [record(resource=Resource({VERSION: str(n)})) for n in range(20)]
    for recording in recordings:
        recording.provider.add_span_processor(processor)
    asked.clear()
    one, two = recordings[:2]
    found = [each.attributes() for each in (one, two) * 3]
    assert found == [{VERSION: "0"}, {VERSION: "1"}] * 3
    assert len(asked) == 2
    processor.retag({"team": "search"})
    assert one.attributes() == {VERSION: "0", "team": "search"}
    for n, each in enumerate(recordings):
        assert each.attributes()[VERSION] == str(n)
    assert len(processor._detected[1]) <= 16


def test_tags_that_another_thread_adds_meanwhile_are_not_lost(record, monkeypatch):
    processor = VersionSpanProcessor(version="1")
    recording = record(resource=Resource({"deployment.id": "d"}))
    recording.provider.add_span_processor(processor)
    attributes, detection = detect.Detection.attributes, processors.Detection
    more = [{"team": "search"}]

    def read(self, resource):
        found = attributes(self, resource)
        if more and resource:
            processor.retag(more.pop())
        return found

    def made(explicit):
        if more:
            processor.retag(more.pop())
        return detection(explicit)

    monkeypatch.setattr(detect.Detection, "attributes", read)
    for _ in range(2):
        found = recording.attributes()
    assert found == {VERSION: "1", "deployment.id": "d", "team": "search"}
    monkeypatch.setattr(processors, "Detection", made)
    more.append({"region": "eu"})
    processor.retag({"tier": "gold"})
    assert recording.attributes() == {**found, "region": "eu", "tier": "gold"}


def test_spans_of_each_provider_in_a_block_of_tags_have_its_own_version(record, way):
    recordings = [record(), record()]
    for number, recording in enumerate(recordings):
        add(recording.provider, version=str(number))
    with otel_vtrack.tag(team="search"):
        for _ in range(2):
            versions = [recording.attributes()[VERSION] for recording in recordings]
            assert versions == ["0", "1"]


def test_an_unsampled_span_is_left_alone(record):
    recording = stamped(record(sampler=ALWAYS_OFF), version="1")
    recording.tracer.start_span("s").end()
    assert recording.spans() == []


def test_a_value_no_attribute_can_hold_becomes_text(record, way):
    class Build:
        def __str__(self):
            return "build 7"

    recording = stamped(
        record(), build=Build(), big=2**70, odd="caf\udce9", empty=None, mixed=[1, "a"]
    )
    assert recording.attributes() == {
        "build": "build 7",
        "big": str(2**70),
        "odd": "caf?",
        "mixed": ("1", "a"),
    }


def test_many_threads_may_start_spans_at_once(record):
    recording = stamped(record(), version="1")

    def work(n):
        with otel_vtrack.tag(n=n):
            for _ in range(50):
                recording.tracer.start_span(f"s{n}").end()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    spans = recording.spans()
    assert len(spans) == 400
    assert all(s.attributes == {VERSION: "1", "n": int(s.name[1:])} for s in spans)


def test_the_merge_is_in_use_with_the_installed_sdk():
    assert merge.works_here()


@pytest.mark.parametrize("wrapped", [False, True])
def test_usual_spans_are_stamped_the_short_way_until_there_are_dynamic_tags(
    record, monkeypatch, only_static, wrapped
):
    seen = []
    own = VersionSpanProcessor.on_start

    def on_start(self, span, parent_context=None):
        seen.append(span.name)
        own(self, span, parent_context)

    monkeypatch.setattr(VersionSpanProcessor, "on_start", on_start)
    recording = record()
    otel_vtrack.install(recording.provider, version="1")
    active = recording.provider._active_span_processor
    if wrapped:
        active.on_start = functools.partial(active.on_start)
    for name in ("first", "usual", "usual"):
        assert recording.span(name, attributes={"a": 1}).attributes == {VERSION: "1", "a": 1}
        assert recording.span(name).attributes == {VERSION: "1"}
    otel_vtrack.install(recording.provider, team="search")
    for name in ("retagged", "usual"):
        assert recording.span(name).attributes == {VERSION: "1", "team": "search"}
    assert seen == ["first", "retagged"]
    with otel_vtrack.tag(session="s"):
        assert recording.attributes() == {VERSION: "1", "team": "search", "session.id": "s"}
    assert recording.attributes() == {VERSION: "1", "team": "search"}


@pytest.mark.usefixtures("only_static")
def test_the_provider_s_own_processors_are_given_the_parent_context(record):
    given = []

    class Own(SpanProcessor):
        def on_start(self, span, parent_context=None):
            given.append(parent_context)

    recording = record()
    recording.provider.add_span_processor(Own())
    otel_vtrack.install(recording.provider, version="1")
    context = set_value("key", "value")
    # The first one opens the short way for those that follow.
    for _ in range(3):
        recording.provider.get_tracer("test").start_span("span", context)
    assert given == [context] * 3


def test_a_span_of_another_make_is_survived_and_ends_the_short_way(
    record, monkeypatch, caplog, only_static
):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    recording = record()
    put_before(recording.provider, version="1")
    recording.provider._active_span_processor.on_start(SimpleNamespace(), parent_context=None)
    assert len(caplog.records) == 1
    assert recording.attributes(attributes={"a": 1}) == {VERSION: "1", "a": 1}


def test_an_error_of_ours_is_logged_once_and_the_span_is_exported_as_it_was(
    record, monkeypatch, caplog
):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    recording = record()
    processor = VersionSpanProcessor(version="1")
    recording.provider.add_span_processor(processor)
    recording.span("fine")
    processor._stamp = processor._static = None
    with caplog.at_level(logging.WARNING, "otel_vtrack"):
        for _ in range(3):
            assert recording.attributes(attributes={"a": 1}) == {"a": 1}
    assert len(caplog.records) == 1
    assert "stamping a span" in caplog.text
