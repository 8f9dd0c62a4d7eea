"""tag: which spans get the tags, and that nothing leaks."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import enum
import functools
import gc
import inspect
import logging
import random
import types

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider
from opentelemetry.trace import set_span_in_context

import otel_vtrack
from otel_vtrack import tag
from otel_vtrack.sdk import tagging


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


def test_a_task_opens_blocks_whatever_its_parent_has_opened_or_closed_meanwhile(recording):
    async def child():
        with tag(tier="gold"):
            return recording.attributes()

    async def main():
        with tag(session="s"):
            task = asyncio.create_task(child())
            with tag(user="u"):
                assert await task == {"session.id": "s", "tier": "gold"}
            task = asyncio.create_task(child())
        with tag(user="u"):
            assert await task == {"session.id": "s", "tier": "gold"}
            assert recording.attributes() == {"user.id": "u"}

    asyncio.run(main())


class AtRandom:
    """Opens blocks in all ways there are; at each step spans have to have the tags as written."""

    def __init__(self, seed, start_span):
        self.chance = random.Random(seed)
        self.start_span = start_span
        self.ways = [self.block, self.tasks, self.coroutine, self.generator, self.stream, self.copy]
        self.late = []

    def some(self):
        return {self.chance.choice("abcdef"): self.chance.randrange(5)}

    def check(self, expected):
        assert self.start_span("s").attributes == expected

    async def work(self, expected, depth=5):
        for _ in range(self.chance.randrange(1, 4)):
            self.check(expected)
            if depth > 0:
                await self.chance.choice(self.ways)(expected, self.some(), depth - 1)
            await asyncio.sleep(0)
            self.check(expected)

    async def block(self, expected, tags, depth):
        with tag(tags):
            await self.work({**expected, **tags}, depth)

    async def tasks(self, expected, tags, depth):
        block, more = tag(tags), self.some()
        async with block:
            coroutines = [self.work({**expected, **tags}, depth) for _ in range(2)]
            tasks = list(map(asyncio.create_task, coroutines))
            with block, tag(more):
                await self.work({**expected, **tags, **more}, depth)
            if self.chance.random() < 0.5:
                await asyncio.gather(*tasks)
            else:
                self.late.extend(tasks)

    async def coroutine(self, expected, tags, depth):
        await tag(tags)(self.work)({**expected, **tags}, depth)

    async def generator(self, expected, tags, depth):
        @tag(tags)
        def numbers():
            with tag(tags):
                yield self.check({**expected, **tags})
            yield self.check({**expected, **tags})

        for _ in numbers():
            await self.block(expected, self.some(), depth - 1)
            if self.chance.random() < 0.2:
                break

    async def stream(self, expected, tags, depth):
        @tag(tags)
        async def numbers():
            more = self.some()
            with tag(more):
                for _ in range(2):
                    await self.work({**expected, **tags, **more}, depth - 1)
                    yield
            self.check({**expected, **tags})

        generator = numbers()
        async for _ in generator:
            await self.work(expected, depth - 1)
            if self.chance.random() < 0.2:
                self.late.append(asyncio.create_task(generator.aclose()))
                break

    async def copy(self, expected, tags, depth):
        def inside():
            with tag(tags):
                self.check({**expected, **tags})
            self.check(expected)

        for _ in range(2):
            contextvars.copy_context().run(inside)

    async def all(self):
        await self.work({})
        while self.late:
            await self.late.pop()
        self.check({})


def test_blocks_of_tasks_generators_and_copies_of_contexts_nest_as_they_are_written(recording):
    for seed in range(12):
        asyncio.run(AtRandom(seed, recording.tracer.start_span).all())
        assert tagging._open.get() is None


def test_a_block_closes_though_changes_of_a_child_s_context_are_copied_back(recording):
    def call(function):
        # As asgiref does, and so Django, between asynchronous code and threads.
        child = contextvars.copy_context()
        result = child.run(function)
        for variable in child:
            with contextlib.suppress(LookupError):
                if variable.get() is child[variable]:
                    continue
            variable.set(child[variable])
        return result

    def view():
        with tag(tier="gold"):
            return recording.attributes()

    def middleware():
        with tag(user="u"):
            return recording.attributes(), call(view)

    with tag(session="s"):
        one, two = call(middleware)
        assert one == {"session.id": "s", "user.id": "u"}
        assert two == {"session.id": "s", "user.id": "u", "tier": "gold"}
        assert call(view) == {"session.id": "s", "tier": "gold"}
        assert recording.attributes() == {"session.id": "s"}
    assert recording.attributes() == {}


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


def test_a_block_inside_a_decorated_generator_stays_inside_too(recording):
    @tag(session="s")
    def numbers():
        with tag(tier="gold"):
            yield recording.attributes()
            with recording.tracer.start_as_current_span("body"):
                yield recording.attributes()
            yield recording.attributes()
        yield recording.attributes()

    inside = {"session.id": "s", "tier": "gold"}
    generator = numbers()
    assert next(generator) == inside
    assert recording.attributes() == {}
    with tag(user="u"):
        assert next(generator) == inside
        assert recording.attributes() == {"user.id": "u"}
    assert recording.attributes() == {}
    # As another thread would.
    assert contextvars.copy_context().run(next, generator) == inside
    assert list(generator) == [{"session.id": "s"}]
    assert recording.attributes() == {}
    abandoned = numbers()
    with tag(user="u"):
        next(abandoned)
        abandoned.close()
        assert recording.attributes() == {"user.id": "u"}


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


def test_what_a_decorated_function_returns_is_tagged_inside_too(recording):
    async def body():
        await asyncio.sleep(0)
        return recording.attributes()

    class Calling:
        async def __call__(self):
            return await body()

    def plain():
        return body()

    def numbers():
        yield recording.attributes()

    def some():
        return numbers()

    async def tokens():
        yield recording.attributes()

    async def main():
        for function in (functools.partial(body), plain, Calling()):
            assert await tag(session="s")(function)() == {"session.id": "s"}
        task = asyncio.create_task(tag(session="s")(plain)())
        assert await task == {"session.id": "s"}

        @tag(session="s")
        async def stream():
            return tokens()

        assert [it async for it in await stream()] == [{"session.id": "s"}]

    asyncio.run(main())
    generator = tag(session="s")(some)()
    assert generator.__name__ == "numbers"
    assert list(tag(session="s")(functools.partial(numbers))()) == [{"session.id": "s"}]
    assert list(generator) == [{"session.id": "s"}]
    assert recording.attributes() == {}


@pytest.mark.filterwarnings("error")
def test_a_returned_coroutine_warns_once_when_dropped_and_never_when_cancelled(recording):
    async def body():
        """Is never started."""

    @tag(session="s")
    def tagged():
        return body()

    async def main():
        task = asyncio.create_task(tagged())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    tagged().close()
    with pytest.warns(RuntimeWarning, match="was never awaited") as warned:
        tagged()
    assert len(warned) == 1


def test_a_generator_that_may_be_awaited_stays_so(recording):
    @tag(session="s")
    @types.coroutine
    def body():
        yield from asyncio.sleep(0).__await__()
        return recording.attributes()

    async def main():
        return await body()

    assert asyncio.run(main()) == {"session.id": "s"}


def test_methods_may_be_decorated_above_or_beneath_their_kind(recording):
    class Shop:
        @tag(session="s")
        @staticmethod
        def above(n):
            return n, recording.attributes()

        @tag(session="s")
        @classmethod
        def of_class(cls, n):
            return n, recording.attributes()

        @staticmethod
        @tag(session="s")
        def beneath(n):
            return n, recording.attributes()

    for method in (Shop().above, Shop.above, Shop().of_class, Shop.of_class, Shop().beneath):
        assert method(1) == (1, {"session.id": "s"})


def test_what_is_no_function_stays_as_it_is(monkeypatch, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")

    @tag(session="s")
    class Shop:
        @tag(session="s")
        @property
        def name(self):
            return "shop"

    assert isinstance(Shop(), Shop)
    assert Shop().name == "shop"
    assert "is not a function" in caplog.text


def test_without_parentheses_it_leaves_the_function_alone_and_says_so(monkeypatch, caplog):
    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")

    @tag
    def double(n):
        return 2 * n

    assert double(4) == 8
    assert "write @tag(...)" in caplog.text


@pytest.fixture
def abandoned():
    """Make a generator that stands in a block that another context has opened."""

    def numbers():
        with tag(session="inner"):
            yield 1

    def make():
        generator = numbers()
        next(generator)
        return generator

    return lambda: contextvars.copy_context().run(make)


def test_a_block_in_a_generator_that_another_context_finalizes_ends_no_other_block(
    recording, abandoned, caplog
):
    with caplog.at_level(logging.DEBUG):
        contextvars.copy_context().run(abandoned().close)
        generator = abandoned()
        with tag(user="u"):
            generator.close()
            assert recording.attributes() == {"user.id": "u"}
        assert recording.attributes() == {}
    assert caplog.records == []


def test_a_generator_whose_steps_run_in_copies_of_a_context_makes_no_noise(recording, caplog):
    # As Starlette runs one: each step in a thread of a pool, in a copy of the request's context.
    def numbers():
        with tag(user="u"):
            yield recording.attributes()
        yield recording.attributes()

    with caplog.at_level(logging.DEBUG), tag(session="s"):
        generator = numbers()
        seen = [contextvars.copy_context().run(next, generator) for _ in range(2)]
        assert seen == [{"session.id": "s", "user.id": "u"}, {"session.id": "s"}]
        assert recording.attributes() == {"session.id": "s"}
    assert caplog.records == []


def test_blocks_of_generators_that_close_in_any_order_leave_nothing_behind(recording):
    def numbers():
        with tag(session="s"):
            yield
        yield

    generator = numbers()
    next(generator)
    with tag(user="u"):
        next(generator)
    assert recording.attributes() == {}


def test_a_timer_that_sets_itself_again_adds_up_nothing(recording):
    left = [50]

    async def main():
        done = asyncio.get_running_loop().create_future()

        @tag(session="s")
        def tick():
            left[0] -= 1
            if left[0]:  # called in a copy of the context here, in which the block is open
                asyncio.get_running_loop().call_soon(tick)
            else:
                opened = tagging._open.get()
                done.set_result((recording.attributes(), len(opened.blocks)))
                assert opened.outside.outside is None

        tick()
        return await done

    assert asyncio.run(main()) == ({"session.id": "s"}, 1)


def test_a_decorated_asynchronous_generator_that_is_dropped_as_it_waits_makes_no_noise(caplog):
    @tag(session="s")
    async def tokens():
        yield 1
        await asyncio.Event().wait()

    async def consume():
        async for _ in tokens():
            pass

    loop = asyncio.new_event_loop()
    task = loop.create_task(consume())
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del task
    gc.collect()
    assert "Failed to detach" not in caplog.text


def test_a_value_that_cannot_even_be_text_costs_no_other_tag(recording, monkeypatch, caplog):
    class Hostile:
        def __str__(self):
            raise RuntimeError

    monkeypatch.delenv("OTEL_VTRACK_RAISE_ERRORS")
    with tag({7: 7}, session=Hostile(), user="u", flags={None: "on"}):
        assert recording.attributes() == {"7": 7, "user.id": "u", "vtrack.flag.None": "on"}
    otel_vtrack.install(recording.provider, version="1", build=Hostile())
    assert recording.attributes() == {"service.version": "1"}
    assert "'session.id'" in caplog.text


def test_values_of_kinds_of_text_and_numbers_stay_what_they_are(recording):
    class Plan(str, enum.Enum):
        PRO = "pro"

    class Level(enum.IntEnum):
        HIGH = 3

    class Ratio(float):
        """As numpy's are."""

    with tag(plan=Plan.PRO, level=Level.HIGH, ratio=Ratio(0.5)):
        found = recording.attributes()
    assert found == {"plan": "pro", "level": 3, "ratio": 0.5}
    assert [type(value) for value in found.values()] == [str, int, float]


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
