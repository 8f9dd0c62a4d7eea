"""tag: which spans get the tags, and that nothing leaks."""

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider
from opentelemetry.trace import set_span_in_context

import otel_vtrack
from otel_vtrack import tag


@pytest.fixture
def recording(record):
    recording = record()
    otel_vtrack.install(recording.provider)
    return recording


def test_every_kind_of_tag_has_its_attribute(recording):
    with tag(
        {"app.plan": "pro"},
        session="s",
        user="u",
        version="2",
        environment="staging",
        flags={"ranker": "b", "fast": True},
        tier="gold",
    ):
        assert recording.attributes() == {
            "app.plan": "pro",
            "session.id": "s",
            "user.id": "u",
            "service.version": "2",
            "deployment.environment.name": "staging",
            "vtrack.flag.ranker": "b",
            "vtrack.flag.fast": True,
            "tier": "gold",
        }


def test_tags_end_with_the_block(recording):
    with tag(session="s"):
        pass
    assert recording.attributes() == {}


def test_tags_end_with_a_block_that_raises(recording):
    with pytest.raises(KeyError), tag(session="s"):
        raise KeyError
    assert recording.attributes() == {}


def test_nested_blocks_add_up_and_the_inner_one_wins(recording):
    with tag(session="outer", user="u"):
        with tag(session="inner", tier="gold"):
            assert recording.attributes() == {
                "session.id": "inner",
                "user.id": "u",
                "tier": "gold",
            }
        assert recording.attributes() == {"session.id": "outer", "user.id": "u"}


def test_none_is_no_tag(recording):
    with tag(session="s"), tag(session=None, user=None):
        assert recording.attributes() == {"session.id": "s"}


def test_a_tag_wins_over_the_version_of_the_process_and_gives_way_to_the_application(record):
    recording = record()
    otel_vtrack.install(recording.provider, version="process", team="process")
    with tag(version="block", team="block"):
        assert recording.attributes(attributes={"team": "theirs"}) == {
            "service.version": "block",
            "team": "theirs",
        }


def test_a_span_already_open_is_not_changed(recording):
    with recording.tracer.start_as_current_span("open"), tag(session="s"):
        pass
    assert recording.named("open") == {}


def test_spans_of_the_block_keep_their_parents(recording):
    with recording.tracer.start_as_current_span("parent") as parent, tag(session="s"):
        child = recording.span("child")
    assert child.parent.span_id == parent.get_span_context().span_id


def test_an_explicit_context_decides_and_not_the_current_one(recording):
    with tag(session="elsewhere"):
        elsewhere = otel_context.get_current()
    with tag(session="here"):
        assert recording.attributes(context=elsewhere) == {"session.id": "elsewhere"}
        parent = recording.tracer.start_span("p")
        empty = set_span_in_context(parent, otel_context.Context())
        assert recording.attributes(context=empty) == {}
        parent.end()


def test_one_block_object_serves_again_and_within_itself(recording):
    block = tag(session="s")
    with block:
        with block:
            pass
        assert recording.attributes() == {"session.id": "s"}
    assert recording.attributes() == {}
    with block:
        assert recording.attributes() == {"session.id": "s"}


def test_one_block_object_serves_many_tasks_at_once(recording):
    block = tag(session="s")

    async def work(n):
        async with block, tag(n=n):
            await asyncio.sleep(0.001 * (n % 3))
            recording.tracer.start_span(f"in{n}").end()
            await asyncio.sleep(0.001 * (n % 2))
        recording.tracer.start_span(f"out{n}").end()

    async def main():
        await asyncio.gather(*map(work, range(10)))

    asyncio.run(main())
    for n in range(10):
        assert recording.named(f"in{n}") == {"session.id": "s", "n": n}
        assert recording.named(f"out{n}") == {}


def test_a_thread_sees_the_tags_of_the_context_it_is_given(recording):
    with concurrent.futures.ThreadPoolExecutor(1) as pool, tag(session="s"):
        given = contextvars.copy_context()
        assert pool.submit(given.run, recording.attributes).result() == {"session.id": "s"}
        assert pool.submit(recording.attributes).result() == {}


def test_a_decorated_function_is_tagged_whenever_it_is_called(recording):
    @tag(session="s")
    def work(name):
        """Doc."""
        return recording.attributes(name=name)

    assert work("a") == work("b") == {"session.id": "s"}
    assert recording.attributes() == {}
    assert (work.__name__, work.__doc__) == ("work", "Doc.")


def test_a_decorated_coroutine_function_stays_one(recording):
    @tag(session="s")
    async def work():
        await asyncio.sleep(0)
        return recording.attributes()

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work()) == {"session.id": "s"}


def test_a_decorated_generator_is_tagged_inside_and_its_consumer_is_not(recording):
    @tag(session="s")
    def numbers():
        with recording.tracer.start_as_current_span("body"):
            for n in range(2):
                recording.tracer.start_span(f"in{n}").end()
                yield n
        return "done"

    def consume():
        result = yield from numbers()
        recording.tracer.start_span(f"after {result}").end()

    assert inspect.isgeneratorfunction(numbers)
    for n in consume():
        recording.tracer.start_span(f"out{n}").end()
    body = next(span for span in recording.spans() if span.name == "body")
    for n in range(2):
        inside = next(span for span in recording.spans() if span.name == f"in{n}")
        assert inside.attributes == {"session.id": "s"}
        assert inside.parent.span_id == body.context.span_id, "the body's span stays current"
        assert recording.named(f"out{n}") == {}
    assert recording.named("after done") == {}


def test_a_decorated_generator_passes_on_what_is_sent_thrown_and_closed():
    seen = []

    @tag(session="s")
    def echo():
        try:
            while True:
                try:
                    seen.append((yield len(seen)))
                except KeyError as error:  # noqa: PERF203
                    seen.append(error)
        finally:
            seen.append("closed")

    generator = echo()
    assert next(generator) == 0
    assert generator.send("a") == 1
    assert generator.throw(KeyError("k")) == 2
    generator.close()
    assert seen[0] == "a"
    assert isinstance(seen[1], KeyError)
    assert seen[2] == "closed"


def test_a_decorated_asynchronous_generator_is_tagged_inside_and_its_consumer_is_not(recording):
    @tag(session="s")
    async def tokens():
        with recording.tracer.start_as_current_span("body"):
            for n in range(2):
                await asyncio.sleep(0)
                recording.tracer.start_span(f"in{n}").end()
                try:
                    yield n
                except KeyError:
                    recording.tracer.start_span("caught").end()
                    yield "caught"

    async def main():
        stream = tokens()
        async for n in stream:
            recording.tracer.start_span(f"out{n}").end()
            if n == 1:
                assert await stream.athrow(KeyError) == "caught"
                await stream.aclose()

    assert inspect.isasyncgenfunction(tokens)
    asyncio.run(main())
    for name in ("in0", "in1", "caught"):
        assert recording.named(name) == {"session.id": "s"}
    for name in ("out0", "out1"):
        assert recording.named(name) == {}


def test_a_block_in_a_generator_that_another_context_finalizes_makes_no_noise(recording, caplog):
    def numbers():
        with tag(session="s"):
            yield 1

    def abandon():
        generator = numbers()
        next(generator)
        return generator

    generator = contextvars.copy_context().run(abandon)
    with caplog.at_level(logging.DEBUG):
        contextvars.copy_context().run(generator.close)
    assert caplog.records == []


def test_a_value_that_cannot_even_be_text_harms_nobody(recording, monkeypatch):
    class Hostile:
        def __str__(self):
            raise RuntimeError

    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    with tag(session=Hostile(), user="u"):
        recording.attributes()


def test_tags_reach_spans_of_a_concurrent_multi_span_processor(record):
    provider = TracerProvider(
        shutdown_on_exit=False, active_span_processor=ConcurrentMultiSpanProcessor(2)
    )
    recording = record(provider)
    otel_vtrack.install(provider, version="1")
    with tag(session="s"):
        assert recording.attributes()["session.id"] == "s"
    assert "session.id" not in recording.attributes()
    assert recording.attributes()["service.version"] == "1"
