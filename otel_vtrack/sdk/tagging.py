"""`otel_vtrack.tag`: attributes for every span that starts inside a block or a function."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from opentelemetry.context import Context, attach, detach, get_current

from otel_vtrack import semconv
from otel_vtrack.sdk import guest
from otel_vtrack.sdk.context import with_tags
from otel_vtrack.sdk.values import Value, clean_all

P = ParamSpec("P")
R = TypeVar("R")

# One stack for all blocks, in a context variable: a block object may be shared by threads and
# tasks, each of which has blocks of its own open.
_open: Final[ContextVar[tuple[Any, ...]]] = ContextVar("otel-vtrack-open-blocks", default=())


class tag:  # noqa: N801 - reads as a verb: with tag(...), @tag(...)
    """Tags the spans that start inside, in this thread or task and those it hands its context to.

        with otel_vtrack.tag(session="s-1", user="u-7", flags={"new-ranker": "on"}, tier="gold"):
            answer(question)

        @otel_vtrack.tag(version="2.5.0-rc1")
        async def canary(): ...

    Works as `with`, as `async with`, and on functions, coroutine functions, generators and
    asynchronous generators; one object may be used many times and by many threads. Blocks inside
    one another add up and the inner one wins; tags win over the process's own version tags and
    give way to attributes the application sets. A span already open is not changed. Values that
    are None are no tags. Nothing leaves the process but by OTEL_VTRACK_BAGGAGE_KEYS.

    Args:
        attributes: Tags by attribute name, for names with dots.
        session: `session.id`.
        user: `user.id`.
        version: `service.version`, where one process serves several.
        environment: `deployment.environment.name`.
        flags: Variant (or value) of each feature flag, as `vtrack.flag.<key>`.
        **custom: Further tags; the name is the attribute's name.
    """

    def __init__(
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
                    **{semconv.VTRACK_FLAG_PREFIX + key: it for key, it in (flags or {}).items()},
                    semconv.SESSION_ID: session,
                    semconv.USER_ID: user,
                    semconv.SERVICE_VERSION: version,
                    semconv.DEPLOYMENT_ENVIRONMENT_NAME: environment,
                }
            )

    def __enter__(self) -> "tag":  # noqa: PYI034 - Self is not in Python 3.10
        token = None
        with guest.shield("opening a tag block"):
            token = attach(with_tags(self._attributes))
        _open.set((*_open.get(), token))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        with guest.shield("closing a tag block"):
            # Empty when a generator with a block in it is finalized by another thread or task:
            # then its context is gone already.
            *others, token = _open.get() or (None,)
            _open.set(tuple(others))
            if token is not None:
                detach(token)

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
        """Tag everything the function does, each time it is called."""
        wrap: Callable[..., Any]
        if inspect.isasyncgenfunction(function):
            wrap = self._async_generator
        elif inspect.iscoroutinefunction(function):
            wrap = self._coroutine
        elif inspect.isgeneratorfunction(function):
            wrap = self._generator
        else:
            wrap = self._function
        return cast("Callable[P, R]", wrap(function))

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def tagged(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return tagged

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def tagged(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

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
                except BaseException as error:  # noqa: BLE001 - thrown in: the generator's to see
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
                except BaseException as error:  # noqa: BLE001 - thrown in: the generator's to see
                    resume, argument = cast("Any", generator.athrow), error

        return tagged


class _Inside:
    """The context inside a generator, which must not leak to whoever iterates over it.

    It is kept from step to step, since a span opened before a `yield` is current after it too. It
    starts from the context of the first step.
    """

    def __init__(self, attributes: Mapping[str, Value]) -> None:
        self._attributes = attributes
        self._context: Context | None = None

    @contextmanager
    def step(self) -> Generator[None]:
        if self._context is None:
            self._context = get_current()
            with guest.shield("tagging a generator"):
                self._context = with_tags(self._attributes)
        token = attach(self._context)
        try:
            yield
        finally:
            self._context = get_current()
            detach(token)
