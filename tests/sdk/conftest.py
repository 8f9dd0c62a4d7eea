"""Quiet surroundings, and spans made by the real SDK."""

import importlib.util
import os
from pathlib import Path

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_vtrack.sdk import context, git, guest, install, platforms


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch, tmp_path):
    """Nothing of the machine, of its CI or of another test is to be seen, and errors are raised."""
    markers = {platform.marker for platform in platforms.PLATFORMS}
    for name in list(os.environ):
        if name.startswith("OTEL_") or name in markers:
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_VTRACK_RAISE_ERRORS", "true")
    monkeypatch.setenv("OTEL_VTRACK_PODINFO", str(tmp_path / "no-podinfo"))
    # What a test starts as a process of its own sees the same.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(tmp_path)
    git.detect.cache_clear()
    context.use.replace_baggage_keys(None)
    guest.forget()
    before = otel_context.get_current()
    yield
    install.uninstall()
    context.use.replace_baggage_keys(None)
    assert otel_context.get_current() == before, "the test left a context behind"


class Recording:
    """A provider and the spans it has made."""

    def __init__(self, provider):
        self.provider = provider
        self.tracer = provider.get_tracer("test")
        self._memory = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._memory))

    def span(self, name="span", **kwargs):
        """Start and end a span; return it as exported."""
        self.tracer.start_span(name, **kwargs).end()
        return self.spans()[-1]

    def attributes(self, **kwargs):
        return dict(self.span(**kwargs).attributes)

    def spans(self):
        return list(self._memory.get_finished_spans())

    def named(self, name):
        """Return the attributes of the one span of that name."""
        (span,) = [span for span in self.spans() if span.name == name]
        return dict(span.attributes)


@pytest.fixture
def record():
    """Make a provider that records; its resource is empty unless given."""
    made = []

    def make(provider=None, **kwargs):
        if provider is None:
            kwargs.setdefault("resource", Resource.get_empty())
            provider = TracerProvider(shutdown_on_exit=False, **kwargs)
        made.append(provider)
        return Recording(provider)

    yield make
    for provider in made:
        provider.shutdown()


@pytest.fixture
def sink():
    """Start an OTLP receiver (see sink.py) on free ports."""
    spec = importlib.util.spec_from_file_location("sink", Path(__file__).with_name("sink.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.Sink()
    yield server
    server.close()


@pytest.fixture(scope="session")
def installed(environment, wheel):
    """Make an environment with these requirements and this project, without its extras.

    The project itself is installed anew in each run, as a user would get it. Returns the folder of
    its programs.
    """
    return lambda name, *requirements, **how: environment(name, *requirements, wheel=wheel, **how)
