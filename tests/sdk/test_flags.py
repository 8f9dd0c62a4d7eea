"""The OpenFeature hook: flag tags, and events by the current names."""

import pytest
from opentelemetry import _logs

import otel_vtrack
from otel_vtrack import tag

openfeature = pytest.importorskip("openfeature", reason="openfeature is an optional dependency")

from openfeature import api  # noqa: E402
from openfeature.evaluation_context import EvaluationContext  # noqa: E402
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider  # noqa: E402

from otel_vtrack.sdk import events, flags  # noqa: E402


@pytest.fixture
def client():
    """A client of a real provider, with the hook registered."""
    api.set_provider(
        InMemoryProvider(
            {
                "ranker": InMemoryFlag("b", {"a": "old", "b": "new"}),
                "fast": InMemoryFlag("on", {"on": True, "off": False}),
                "limits": InMemoryFlag("m", {"m": {"n": 1}}, flag_metadata={"version": "7"}),
                **{f"f{n}": InMemoryFlag("on", {"on": True}) for n in range(70)},
            }
        )
    )
    flags.register()
    flags.register()
    yield api.get_client()
    api.clear_hooks()
    api.clear_providers()


@pytest.fixture
def recording(record):
    recording = record()
    otel_vtrack.install(recording.provider)
    return recording


def test_an_evaluation_tags_the_current_span_and_those_started_later_under_it(recording, client):
    start = recording.tracer.start_as_current_span
    with start("root"):
        recording.span("before")
        assert client.get_string_value("ranker", "") == "new"
        recording.span("after")
    recording.span("outside")
    assert recording.named("root") == recording.named("after") == {"vtrack.flag.ranker": "b"}
    assert recording.named("before") == recording.named("outside") == {}


def test_a_later_evaluation_adds_to_and_replaces_the_tags(recording, client):
    with tag(flags={"ranker": "a"}), recording.tracer.start_as_current_span("root"):
        client.get_string_value("ranker", "")
        client.get_boolean_value("fast", default_value=False)
        recording.span("after")
    assert recording.named("after") == {"vtrack.flag.ranker": "b", "vtrack.flag.fast": "on"}


def test_without_a_span_an_evaluation_leaves_no_tag_behind(recording, client):
    client.get_string_value("ranker", "")
    assert recording.attributes() == {}


def test_a_failed_evaluation_tags_the_default_it_fell_back_to(recording, client):
    with recording.tracer.start_as_current_span("root"):
        client.get_string_value("no-such-flag", "fallback")
    (span,) = recording.spans()
    assert span.attributes == {"vtrack.flag.no-such-flag": "fallback"}
    (event,) = span.events
    assert event.attributes["error.type"] == "flag_not_found"
    assert event.attributes["feature_flag.result.value"] == "fallback"
    assert event.attributes["feature_flag.result.reason"] == "error"
    assert event.attributes["feature_flag.error.message"]


def test_the_event_has_the_current_names_and_one_hook_emits_one(recording, client):
    with recording.tracer.start_as_current_span("root"):
        client.get_object_value("limits", {})
    (event,) = recording.spans()[-1].events
    assert event.name == "feature_flag.evaluation"
    assert event.attributes == {
        "feature_flag.key": "limits",
        "feature_flag.provider.name": "In-Memory Provider",
        "feature_flag.result.variant": "m",
        "feature_flag.result.reason": "static",
        "feature_flag.version": "7",
    }


def test_the_targeting_key_is_not_recorded(recording, client):
    with recording.tracer.start_as_current_span("root"):
        client.get_string_value("ranker", "", EvaluationContext(targeting_key="user-7"))
    (event,) = recording.spans()[-1].events
    assert "user-7" not in str(event.attributes)


def test_a_context_carries_a_bounded_number_of_flags(recording, client):
    with recording.tracer.start_as_current_span("root"):
        for n in range(70):
            client.get_boolean_value(f"f{n}", default_value=False)
        recording.span("after")
    assert len(recording.named("root")) == 70
    assert len(recording.named("after")) == flags.MOST_FLAGS


def test_where_there_is_room_for_no_other_flag_those_there_are_still_change(recording, client):
    before = {f"f{n}": "off" for n in range(flags.MOST_FLAGS)}
    with tag(flags=before), recording.tracer.start_as_current_span("root"):
        client.get_boolean_value("f3", default_value=False)
        client.get_boolean_value("f69", default_value=False)
        recording.span("after")
    after = before | {"f3": "on"}
    assert recording.named("after") == {
        f"vtrack.flag.{name}": value for name, value in after.items()
    }


class Forwarding:
    """A provider of loggers as Logfire's is: it has the SDK's behind it."""

    def __init__(self, provider):
        self.provider = provider

    def get_logger(self, name):
        return self.provider.get_logger(name)


@pytest.mark.parametrize("around", [lambda provider: provider, Forwarding])
def test_the_event_is_a_log_record_when_logs_go_somewhere(recording, client, monkeypatch, around):
    if not events.loggers_take_names():
        pytest.skip("this SDK's Logger.emit takes no event_name: events are span events there")
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415 - other names before
    from opentelemetry.sdk._logs.export import (  # noqa: PLC0415
        InMemoryLogRecordExporter,
        SimpleLogRecordProcessor,
    )

    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", around(provider))
    with recording.tracer.start_as_current_span("root") as span:
        client.get_string_value("ranker", "")
    (record,) = (it.log_record for it in memory.get_finished_logs())
    assert record.event_name == "feature_flag.evaluation"
    assert record.attributes["feature_flag.result.variant"] == "b"
    assert record.span_id == span.get_span_context().span_id
    assert recording.spans()[-1].events == ()
    provider.shutdown()
