"""install: which providers are stamped, once each, whatever the order of set-up."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from weakref import WeakSet

import pytest
from opentelemetry.context import set_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)

import otel_vtrack
from otel_vtrack.sdk import git, providers
from otel_vtrack.sdk import install as installing
from otel_vtrack.sdk.processor import VersionSpanProcessor
from otel_vtrack.sdk.resource import VersionResourceDetector


def processors(provider):
    """Return those of ours that a span meets: before the provider's processors, or among them."""
    active = provider._active_span_processor
    found = [it for it in active._span_processors if isinstance(it, VersionSpanProcessor)]
    first = active.on_start.__self__
    return [first, *found] if isinstance(first, VersionSpanProcessor) else found


def test_installing_twice_adds_one_processor_and_the_later_tags_win(record):
    recording = record()
    otel_vtrack.install(recording.provider, version="1", team="search")
    otel_vtrack.install(recording.provider, version="2", region="eu")
    assert len(processors(recording.provider)) == 1
    assert recording.attributes() == {"service.version": "2", "team": "search", "region": "eu"}


def test_a_processor_the_application_added_itself_is_the_one(record):
    recording = record()
    recording.provider.add_span_processor(VersionSpanProcessor(version="1"))
    otel_vtrack.install(recording.provider, team="search")
    assert len(processors(recording.provider)) == 1
    assert recording.attributes() == {"service.version": "1", "team": "search"}


def test_one_that_is_wrapped_by_others_is_the_one(record):
    class Wrapper(SpanProcessor):
        """As Logfire's."""

        def __init__(self, processor):
            self.processor = processor

        def on_start(self, span, parent_context=None):
            self.processor.on_start(span, parent_context)

    recording = record()
    inner = SynchronousMultiSpanProcessor()
    inner.add_span_processor(VersionSpanProcessor(version="1"))
    recording.provider.add_span_processor(Wrapper(Wrapper(inner)))
    otel_vtrack.install(recording.provider, team="search")
    assert processors(recording.provider) == []
    assert recording.attributes() == {"service.version": "1", "team": "search"}


def test_a_processor_the_application_adds_later_gives_its_tags_to_the_one_that_is_there(record):
    otel_vtrack.install(version="found out", region="eu")
    recording = record()
    recording.provider.add_span_processor(VersionSpanProcessor(version="1", team="search"))
    assert len(processors(recording.provider)) == 1
    assert recording.attributes() == {"service.version": "1", "team": "search", "region": "eu"}


def test_one_that_does_more_than_ours_is_called_too(record):
    class More(VersionSpanProcessor):
        def on_start(self, span, parent_context=None):
            span.set_attribute("more", True)

    recording = record()
    otel_vtrack.install(recording.provider, version="1")
    recording.provider.add_span_processor(More())
    assert recording.attributes() == {"service.version": "1", "more": True}


def test_a_provider_whose_processors_are_replaced_is_stamped_again(record):
    otel_vtrack.install(version="1")
    recording = record()
    otel_vtrack.install(recording.provider, team="search")
    # As the set-up of Vertex AI's agents does.
    recording.provider._active_span_processor = SynchronousMultiSpanProcessor()
    for name in "abc":
        span = recording.provider.get_tracer(name).start_span("s")
        assert span.attributes == {"service.version": "1", "team": "search"}
    assert len(processors(recording.provider)) == 1


def test_a_provider_with_processors_of_its_own_kind_gets_one(record):
    class Custom(SpanProcessor):
        def __init__(self):
            self.added = []

        def add_span_processor(self, processor):
            self.added.append(processor)

        def on_start(self, span, parent_context=None):
            for processor in self.added:
                processor.on_start(span, parent_context)

    active = Custom()
    otel_vtrack.install(version="1")
    provider = TracerProvider(
        resource=Resource.get_empty(), shutdown_on_exit=False, active_span_processor=active
    )
    for name in "ab":
        assert provider.get_tracer(name).start_span("s").attributes == {"service.version": "1"}
    otel_vtrack.install(provider)
    assert len(active.added) == 1


def test_one_provider_leaves_others_alone(record):
    one, other = record(), record()
    otel_vtrack.install(one.provider, version="1")
    assert one.attributes() == {"service.version": "1"}
    assert other.attributes() == {}


def test_without_a_provider_every_later_one_is_stamped_by_its_own_resource(record):
    otel_vtrack.install(team="search")
    one = record(resource=Resource({"service.version": "1"}))
    two = record(resource=Resource({"service.version": "2"}))
    assert one.attributes() == {"service.version": "1", "team": "search"}
    assert two.attributes() == {"service.version": "2", "team": "search"}
    otel_vtrack.install(team="ranking")
    assert two.attributes() == {"service.version": "2", "team": "ranking"}
    assert len(processors(two.provider)) == 1


def test_a_provider_made_before_is_met_when_it_makes_a_tracer(record):
    provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    otel_vtrack.install(version="1")
    assert record(provider).attributes() == {"service.version": "1"}


def test_a_forwarding_provider_is_seen_through(record):
    class Forwarding:
        def __init__(self, provider):
            self.provider = provider

    recording = record()
    otel_vtrack.install(Forwarding(recording.provider), version="1")
    assert recording.attributes() == {"service.version": "1"}


def test_processors_that_look_at_a_span_at_its_start_see_our_tags(record):
    seen = []

    class Pending(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append(dict(span.attributes))

    recording = record()
    recording.provider.add_span_processor(Pending())
    otel_vtrack.install(recording.provider, version="1")
    recording.span()
    assert seen == [{"service.version": "1"}]


def test_providers_that_share_their_processors_share_ours(record):
    active = SynchronousMultiSpanProcessor()
    providers = [
        TracerProvider(
            resource=Resource({"service.version": version}),
            shutdown_on_exit=False,
            active_span_processor=active,
        )
        for version in "12"
    ]
    for provider in providers:
        otel_vtrack.install(provider)
    assert len(processors(providers[0])) == 1
    spans = [provider.get_tracer("t").start_span("s") for provider in providers]
    assert [dict(span.attributes) for span in spans] == [
        {"service.version": "1"},
        {"service.version": "2"},
    ]


@pytest.mark.parametrize("more", ["a subclass", "a wrapper", "another SDK"])
def test_what_else_is_done_when_a_span_starts_goes_on_being_done(record, monkeypatch, more):
    seen = []

    class Noting(SynchronousMultiSpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append(dict(span.attributes))
            super().on_start(span, parent_context)

    active = Noting() if more == "a subclass" else SynchronousMultiSpanProcessor()
    if more == "a wrapper":
        own = active.on_start
        active.on_start = lambda *args, **kwargs: (seen.append("called"), own(*args, **kwargs))
    elif more == "another SDK":
        called = SynchronousMultiSpanProcessor.on_start

        def on_start(self, span, parent_context=None):
            seen.append("called")
            called(self, span, parent_context)

        monkeypatch.setattr(SynchronousMultiSpanProcessor, "on_start", on_start)
    recording = record(TracerProvider(shutdown_on_exit=False, active_span_processor=active))
    otel_vtrack.install(recording.provider, version="1")
    assert recording.attributes() == {"service.version": "1"}
    assert seen == [{"service.version": "1"} if more == "a subclass" else "called"]


def test_processors_added_later_are_called_after_ours(record):
    seen = []

    class Late(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append((dict(span.attributes), parent_context))

    recording = record()
    otel_vtrack.install(recording.provider, version="1")
    recording.provider.add_span_processor(Late())
    given = set_value("k", "v")
    recording.span(context=given)
    assert seen == [({"service.version": "1"}, given)]


@pytest.mark.parametrize("differs", ["its spans", "its tracers"])
def test_where_ours_cannot_run_before_the_processors_it_is_the_first_of_them(
    record, monkeypatch, differs
):
    if differs == "its spans":
        monkeypatch.setattr(installing.providers, "_replaceable", lambda: False)
    else:
        own = TracerProvider.get_tracer

        def get_tracer(*args):
            tracer = own(*args)
            tracer.span_processor = CopiedSpanProcessor(tracer.span_processor)
            return tracer

        monkeypatch.setattr(TracerProvider, "get_tracer", get_tracer)
    seen = []

    class Pending(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append(dict(span.attributes))

    recording = record()
    recording.provider.add_span_processor(Pending())
    otel_vtrack.install(recording.provider, version="1")
    otel_vtrack.install(recording.provider, team="search")
    assert isinstance(
        recording.provider._active_span_processor._span_processors[0], VersionSpanProcessor
    )
    assert recording.attributes() == {"service.version": "1", "team": "search"}
    assert seen == [{"service.version": "1", "team": "search"}]


class CopiedSpanProcessor(SpanProcessor):
    """Calls what another calls, but not that itself."""

    def __init__(self, original):
        self._original = original

    def on_start(self, span, parent_context=None):
        for processor in self._original._span_processors:
            processor.on_start(span, parent_context=parent_context)

    def on_end(self, span):
        self._original.on_end(span)


def test_what_a_processor_of_the_application_raises_stays_its_own(record):
    class Failing(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise LookupError

    recording = record()
    recording.provider.add_span_processor(Failing())
    otel_vtrack.install(recording.provider, version="1")
    for _ in range(2):
        with pytest.raises(LookupError):
            recording.tracer.start_span("s")


def test_threads_that_ask_for_the_first_tracer_at_once_add_one_processor(record):
    otel_vtrack.install(version="1")
    provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    start = threading.Barrier(8)

    def ask():
        start.wait()
        provider.get_tracer("t")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(processors(provider)) == 1


def test_threads_may_add_tags_while_others_do(record):
    recording = record()
    otel_vtrack.install(recording.provider)
    failed = []

    def add(name):
        try:
            for n in range(40):
                more = VersionSpanProcessor(**{f"{name}{n}": n})
                recording.provider.add_span_processor(more)
        except RuntimeError as error:
            failed.append(error)

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failed == []


def test_a_provider_that_is_none_harms_nobody(monkeypatch, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    otel_vtrack.install(object(), version="1")
    assert "installing" in caplog.text


def test_the_hook_does_nothing_when_switched_off(monkeypatch, record):
    monkeypatch.setenv("OTEL_VTRACK_ENABLED", "false")
    monkeypatch.setenv("OTEL_VTRACK_VERSION", "1")
    installing.pre_instrument()
    assert record().attributes() == {}


def test_the_hook_swallows_everything(monkeypatch, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    monkeypatch.setattr(installing, "_install_everywhere", None)
    installing.pre_instrument()
    assert "installing" in caplog.text


def test_an_error_is_swallowed_also_where_the_log_of_the_application_raises(monkeypatch):
    class Failing(logging.Handler):
        def emit(self, record):
            raise OSError("the log is full")

    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    monkeypatch.setattr(logging.getLogger("otel_vtrack"), "handlers", [Failing()])
    otel_vtrack.install(object(), version="1")


def test_the_first_tracer_does_not_wait_for_git(monkeypatch):
    monkeypatch.setattr(providers, "_processors", WeakSet())
    asked = []
    monkeypatch.setattr(git, "detect", lambda: asked.append("git") or {})
    otel_vtrack.install()
    assert asked


def test_with_the_sdk_disabled_nothing_is_read_and_nothing_installed(monkeypatch, record):
    monkeypatch.setattr(git, "detect", lambda: pytest.fail("git was asked"))
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True")
    for start in (otel_vtrack.install, installing.pre_instrument):
        start()
    assert not VersionResourceDetector().detect().attributes
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    assert record().attributes() == {}


def test_the_hook_says_what_openfeature_needs(monkeypatch, record, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    monkeypatch.setenv("OTEL_VTRACK_OPENFEATURE", "true")
    monkeypatch.delattr(otel_vtrack.sdk, "flags", raising=False)
    monkeypatch.delitem(sys.modules, "otel_vtrack.sdk.flags", raising=False)
    monkeypatch.setitem(sys.modules, "openfeature", None)
    monkeypatch.setenv("OTEL_VTRACK_VERSION", "1")
    installing.pre_instrument()
    assert "otel-vtrack[openfeature]" in caplog.text
    assert record().attributes() == {"service.version": "1"}


def test_the_global_provider_is_stamped_also_when_it_is_set_later():
    program = """
import otel_vtrack
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
early = trace.get_tracer("made before anything was set up")
provider = TracerProvider()
otel_vtrack.install(version="1")
trace.set_tracer_provider(provider)
for tracer in (early, trace.get_tracer("t")):
    print(dict(tracer.start_span("s").attributes))
"""
    assert lines(program) == ["{'service.version': '1'}"] * 2


def test_the_global_provider_is_stamped_when_it_is_there_and_has_tracers():
    program = """
import otel_vtrack
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("t")
otel_vtrack.install(version="1")
print(dict(tracer.start_span("s").attributes))
"""
    assert lines(program) == ["{'service.version': '1'}"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
# Python 3.12 warns of forking with threads about, which is what this is for.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on_stamping(record):
    recording = record(resource=Resource({"service.version": "1"}))
    otel_vtrack.install()
    otel_vtrack.install(recording.provider)
    with installing._everywhere.lock, otel_vtrack.tag(session="s"):
        # The parent holds the lock while it forks; the child must not wait for it.
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                other = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
                span = other.get_tracer("t").start_span("s")
                told = [recording.attributes(), dict(span.attributes)]
                os.write(writer, json.dumps(told).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            told = json.load(answer)
        os.waitpid(child, 0)
    assert told == [{"service.version": "1", "session.id": "s"}, {"session.id": "s"}]


def _in_child(tracer, queue):
    with otel_vtrack.tag(session="child"):
        queue.put(dict(tracer.start_span("s").attributes))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_multiprocessing_goes_on_stamping(record):
    recording = record()
    otel_vtrack.install(recording.provider, version="1")
    forking = multiprocessing.get_context("fork")
    queue = forking.Queue()
    child = forking.Process(target=_in_child, args=(recording.tracer, queue))
    child.start()
    assert queue.get(timeout=20) == {"service.version": "1", "session.id": "child"}
    child.join()


def test_where_the_sdk_has_no_such_spans_they_are_stamped_by_its_public_ways():
    program = """
import opentelemetry.sdk.trace as sdk
made = sdk._Span
del sdk._Span
import otel_vtrack
otel_vtrack.install(version="1")
otel_vtrack.set_trace_tag
sdk._Span = made
print(dict(sdk.TracerProvider().get_tracer("t").start_span("s").attributes))
"""
    assert lines(program) == ["{'service.version': '1'}"]


def test_where_the_api_for_logs_has_moved_feedback_is_an_event_of_the_span():
    program = """
import sys
from opentelemetry.sdk.trace import TracerProvider
sys.modules["opentelemetry._logs"] = None
import otel_vtrack
with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
    otel_vtrack.log_feedback("relevance", 0.8)
print([event.name for event in span.events])
"""
    assert lines(program) == ["['gen_ai.evaluation.result']"]


def lines(program):
    """Run a program of its own, for what can be set only once in a process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()
