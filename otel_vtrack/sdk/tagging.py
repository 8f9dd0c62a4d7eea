"""`otel_vtrack.tag`: attributes for every span that starts inside a block or a function."""

import functools
import inspect
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import CORO_CREATED
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from opentelemetry.context import Context, attach, get_current

from otel_vtrack import semconv
from otel_vtrack.sdk import guest
from otel_vtrack.sdk.context import with_tags
from otel_vtrack.sdk.values import Value, clean_all

P = ParamSpec("P")
R = TypeVar("R")

_UNFINISHED: Final = frozenset({CoroutineType, GeneratorType, AsyncGeneratorType})


class _Block:
    """An open block.

    Attributes:
        owner: The object that opened it; may have several blocks open.
        before: The context to restore when it closes.
    """

    __slots__ = ("before", "owner")

    def __init__(self, owner: object, before: Context) -> None:
        self.owner: Final = owner
        self.before = before


class _Opened:
    """The blocks open in one Python context, the last one innermost.

    Attributes:
        blocks: At least one, until `_keep` has removed this from its context.
        outside: What the context inherited, to be put back then: asgiref, and so Django, copies
            what has changed in a child's context into its parent's.
        token: Proves in which Python context this is.
    """

    __slots__ = ("blocks", "outside", "token")

    def __init__(self, outside: "_Opened | None") -> None:
        self.blocks: tuple[_Block, ...] = ()
        self.outside = outside
        self.token: Any = None


# A context variable, because threads and tasks may share a `tag`, each with its own blocks.
_open: Final[ContextVar[_Opened | None]] = ContextVar("otel-vtrack-open-blocks", default=None)


def _enter(owner: object, context: Context, inner: tuple[_Block, ...] = ()) -> None:
    """Open a block: make a context current until `_leave`, or until `_suspend`.

    Args:
        owner: Who closes it.
        context: The context inside.
        inner: The blocks open inside, as `_suspend` returned them.
    """
    opened = _open_here()
    if opened is None:
        opened = _Opened(_open.get())
        opened.token = _open.set(opened)
    opened.blocks = (*opened.blocks, _Block(owner, get_current()), *inner)
    attach(context)


def _suspend(owner: object) -> tuple[_Block, ...] | None:
    """Close a block and those inside, which are returned, and restore the context from before it.

    None if it is not open here, as in `_leave`.
    """
    opened = _open_here()
    place = _place(owner, opened)
    if opened is None or place < 0:
        return None
    blocks = opened.blocks
    _keep(opened, blocks[:place])
    attach(blocks[place].before)
    return blocks[place + 1 :]


def _leave(owner: object) -> None:
    """Close a block, if it is open here, and restore the context from before it.

    It is not if another thread or task finalizes a generator with a block in it; that thread's or
    task's own contexts have to stay.
    """
    opened = _open_here()
    place = _place(owner, opened)
    if opened is None or place < 0:
        return
    blocks = opened.blocks
    before = blocks[-1].before
    # Generators may close blocks out of order. Always drop the last context, whichever block owns
    # it, so that the original context is restored once all blocks are closed.
    for later in range(len(blocks) - 1, place, -1):
        blocks[later].before = blocks[later - 1].before
    _keep(opened, blocks[:place] + blocks[place + 1 :])
    # Not detach(), which logs an error if this is a copy of the context the block was opened in.
    attach(before)


def _place(owner: object, opened: _Opened | None) -> int:
    """Return the index of the last block of an owner, -1 if there is none."""
    blocks = () if opened is None else opened.blocks
    place = len(blocks) - 1
    while place >= 0 and blocks[place].owner is not owner:
        place -= 1
    return place


def _open_here() -> _Opened | None:
    """Return the blocks open in this very Python context, or None.

    Tasks, threads and timers start with a copy of a context, including its open blocks. Those are
    not theirs to close.
    """
    opened = _open.get()
    if opened is None:
        return None
    try:
        _open.reset(opened.token)
    # Of another context, and perhaps closed there, or with its thread in these very lines.
    except (ValueError, TypeError, RuntimeError):
        return None
    opened.token = _open.set(opened)
    return opened


def _keep(opened: _Opened, blocks: tuple[_Block, ...]) -> None:
    """Keep only these of the blocks open here."""
    opened.blocks = blocks
    if not blocks:
        _open.set(opened.outside)
        # Copies of this context may live on, as in a timer that re-arms itself, and must not
        # accumulate what each of them has inherited.
        opened.outside = opened.token = None


class tag:  # noqa: N801 - reads as a verb: with tag(...), @tag(...)
    """Tags spans started inside, in this thread or task and in those it passes its context to.

        with otel_vtrack.tag(session="s-1", user="u-7", flags={"new-ranker": "on"}, tier="gold"):
            answer(question)

        @otel_vtrack.tag(version="2.5.0-rc1")
        async def canary(): ...

    Use it in `with` or `async with`, or to decorate functions, coroutine functions, generators and
    asynchronous generators; one object may be used many times and by many threads. Nested blocks
    add up and the inner one wins; tags override the process's own version tags, and attributes set
    by the application override tags. A span already open is not changed. None values are ignored.
    Tags leave the process only as allowed by OTEL_VTRACK_BAGGAGE_KEYS.

    Args:
        attributes: Tags by attribute name, for names with dots.
        session: `session.id`.
        user: `user.id`.
        version: `service.version`, for a process that serves several.
        environment: `deployment.environment.name`.
        flags: Variant (or value) of each feature flag, as `vtrack.flag.<key>`.
        **custom: Further tags; each name is the attribute name.
    """

    def __new__(cls, *given: Any, **_: object) -> "tag":  # noqa: PYI034 - as __enter__
        """Return the function of a `@tag` without parentheses, which would otherwise be lost."""
        if given and callable(given[0]) and not isinstance(given[0], Mapping):
            with guest.shield("decorating with tags"):
                raise TypeError(f"write @tag(...), with tags, before {given[0]!r}")
            return cast("tag", given[0])
        return super().__new__(cls)

    def __init__(  # pyright: ignore[reportInconsistentConstructor] - `__new__` takes anything
        self,
        attributes: Mapping[str, object] | None = None,
        /,
        *,
        session: object = None,
        user: object = None,
        version: object = None,
        environment: object = None,
        flags: Mapping[str, object] | None = None,
        **custom: object,
    ) -> None:
        self._attributes: dict[str, Value] = {}
        with guest.shield("preparing tags"):
            self._attributes = clean_all(
                {
                    **(attributes or {}),
                    **custom,
                    **{
                        f"{semconv.VTRACK_FLAG_PREFIX}{key}": it
                        for key, it in (flags or {}).items()
                    },
                    semconv.SESSION_ID: session,
                    semconv.USER_ID: user,
                    semconv.SERVICE_VERSION: version,
                    semconv.DEPLOYMENT_ENVIRONMENT_NAME: environment,
                }
            )

    def __enter__(self) -> "tag":  # noqa: PYI034 - Self is not in Python 3.10
        with guest.shield("opening a tag block"):
            _enter(self, with_tags(self._attributes))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        with guest.shield("closing a tag block"):
            _leave(self)

    async def __aenter__(self) -> "tag":  # noqa: PYI034 - as __enter__
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Tag everything the function does, each time it is called.

        This includes code that runs only when a returned coroutine, generator or asynchronous
        generator is awaited or iterated over.
        """
        tagged: Any = function
        with guest.shield("decorating with tags"):
            tagged = self._tagged(function)
        return cast("Callable[P, R]", tagged)

    def _tagged(self, function: Any) -> Any:
        if isinstance(function, staticmethod | classmethod):
            inner = cast("Any", function).__func__
            return cast("Any", type(function))(self._tagged(inner))
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"{function!r} is not a function; decorate its functions instead")
        if inspect.isasyncgenfunction(function):
            return self._async_generator(function)
        if inspect.iscoroutinefunction(function):
            return self._coroutine(function)
        if inspect.isgeneratorfunction(function) and not _is_awaitable(function):
            return self._generator(function)
        return self._function(function)

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def tagged(*args: Any, **kwargs: Any) -> Any:
            with self:
                result = function(*args, **kwargs)
            return self._result(result)

        return tagged

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def tagged(*args: Any, **kwargs: Any) -> Any:
            with self:
                result = await function(*args, **kwargs)
            return self._result(result)

        return tagged

    def _result(self, result: Any) -> Any:
        """Return a function's result, wrapped with tags if it has yet to run.

        Wraps only Python's own types: other awaitables may also be, say, context managers.
        """
        if type(result) not in _UNFINISHED:
            return result
        tagged = result
        with guest.shield("tagging what a function returned"):
            if inspect.isasyncgen(result):
                tagged = self._async_generator(lambda: result)()
            elif inspect.isgenerator(result) and not _is_awaitable(result):
                tagged = self._generator(lambda: result)()
            else:
                tagged = self._coroutine(lambda: result)()
                # If dropped or cancelled before it starts, it would leave the inner one unawaited.
                weakref.finalize(tagged, _close_unstarted, result).atexit = False
            tagged.__name__, tagged.__qualname__ = result.__name__, result.__qualname__
        return tagged

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def tagged(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator: Generator[Any, Any, Any] = function(*args, **kwargs)
            inside = _Inside(self._attributes)
            resume, argument = generator.send, None
            while True:
                with inside.step():
                    try:
                        value = resume(argument)
                    except StopIteration as stop:
                        return stop.value
                try:
                    argument = yield value
                    resume = generator.send
                except GeneratorExit:
                    with inside.step():
                        generator.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - pass it to the generator
                    resume, argument = cast("Any", generator.throw), error

        return tagged

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def tagged(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            generator: AsyncGenerator[Any, Any] = function(*args, **kwargs)
            inside = _Inside(self._attributes)
            resume, argument = cast("Any", generator.asend), None
            while True:
                with inside.step():
                    try:
                        value = await resume(argument)
                    except StopAsyncIteration:
                        return
                try:
                    argument = yield value
                    resume = generator.asend
                except GeneratorExit:
                    with inside.step():
                        await generator.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - pass it to the generator
                    resume, argument = cast("Any", generator.athrow), error

        return tagged


class _Inside:
    """The context and the open blocks inside a generator, which must not leak to its consumer.

    They are kept between steps, since a span opened before a `yield` is still current after it. The
    context is based on that of the first step.
    """

    def __init__(self, attributes: Mapping[str, Value]) -> None:
        self._attributes = attributes
        self._context: Context | None = None
        self._opened: tuple[_Block, ...] = ()

    @contextmanager
    def step(self) -> Generator[None]:
        if self._context is None:
            self._context = get_current()
            with guest.shield("tagging a generator"):
                self._context = with_tags(self._attributes)
        _enter(self, self._context, self._opened)
        try:
            yield
        finally:
            inside = get_current()
            opened = _suspend(self)
            if opened is not None:
                self._context, self._opened = inside, opened


def _is_awaitable(generator: Any) -> bool:
    """Return whether `types.coroutine` made a generator, or a function's generators, awaitable."""
    while isinstance(generator, functools.partial):
        generator = cast("Any", generator).func
    code = getattr(generator, "gi_code", None) or generator.__code__
    return bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _close_unstarted(awaitable: Any) -> None:
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == CORO_CREATED:
        awaitable.close()
