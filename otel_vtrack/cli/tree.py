"""Draw a trace as a tree of its spans, with when and how long each ran."""

from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData
from rich import box
from rich.table import Table
from rich.text import Text

from otel_vtrack.cli import show

_WIDTH: Final = 30
_NARROWEST_BAR: Final = 8
_NARROW: Final = 60
"""Width in cells below which a terminal has room only for names, durations and errors."""

_INPUT: Final = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
)
_OUTPUT: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
)


def of(otlp: TracesData, width: int) -> Table:
    """Draw every span once: below its parent, or at the top level if its parent is missing.

    Args:
        otlp: The spans.
        width: Available width in cells; narrow terminals show fewer columns.
    """
    narrow = width < _NARROW
    bar = min(_WIDTH, max(_NARROWEST_BAR, width // 5))
    spans = {
        span.span_id: (span, _service(group.resource.attributes))
        for group in otlp.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    }
    start = min(span.start_time_unix_nano for span, _ in spans.values())
    end = max(_end(span) for span, _ in spans.values())
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("span", overflow="fold")
    if not narrow:
        made.add_column("service", overflow="fold")
        made.add_column("", no_wrap=True, min_width=bar)
    made.add_column("duration", justify="right", no_wrap=True)
    made.add_column("status", overflow="fold")
    if not narrow:
        made.add_column("tokens", justify="right")
    for span_id, indent in _order({key: span for key, (span, _) in spans.items()}):
        span, service = spans[span_id]
        failed = span.status.code == Status.STATUS_CODE_ERROR
        name = Text(indent + show.line(span.name))
        length = show.length(_end(span) - span.start_time_unix_nano)
        status = Text(f"error {show.line(span.status.message)}".strip(), style="red")
        outcome = status if failed else ""
        if narrow:
            made.add_row(name, length, outcome)
        else:
            made.add_row(
                name,
                Text(show.line(service)),
                _bar(span, start, end, bar),
                length,
                outcome,
                _tokens(span),
            )
    return made


def _order(spans: dict[bytes, Span]) -> list[tuple[bytes, str]]:
    """List spans depth first, each with the branches to draw before its name."""
    children: dict[bytes, list[bytes]] = {}
    roots: list[bytes] = []
    for span_id, span in sorted(spans.items(), key=lambda item: item[1].start_time_unix_nano):
        parent = span.parent_span_id
        if parent in spans and parent != span_id:
            children.setdefault(parent, []).append(span_id)
        else:
            roots.append(span_id)
    done: set[bytes] = set()
    order: list[tuple[bytes, str]] = []
    # Iterative, because a trace may be deeper than Python's stack. Spans that form a cycle are
    # below no root, so the first of them goes to the top level.
    for top in (*roots, *spans):
        stack = [] if top in done else [(top, "", "")]
        while stack:
            span_id, here, below = stack.pop()
            if span_id in done:
                continue
            done.add(span_id)
            order.append((span_id, here))
            inner = children.get(span_id, [])
            for child in reversed(inner):
                last = child == inner[-1]
                stack.append(
                    (child, below + ("└ " if last else "├ "), below + ("  " if last else "│ "))
                )
    return order


def _end(span: Span) -> int:
    return max(span.start_time_unix_nano, span.end_time_unix_nano)


def _bar(span: Span, start: int, end: int, width: int) -> Text:
    whole = max(end - start, 1)
    first = (span.start_time_unix_nano - start) * width // whole
    last = -(-(_end(span) - start) * width // whole)
    first = min(first, width - 1)
    failed = span.status.code == Status.STATUS_CODE_ERROR
    return Text(" " * first + "━" * max(1, last - first), style="red" if failed else "cyan")


def _service(attributes: object) -> str:
    return _value(attributes, ("service.name",))


def _tokens(span: Span) -> str:
    given, got = _value(span.attributes, _INPUT), _value(span.attributes, _OUTPUT)
    return f"{given or 0} + {got or 0}" if given or got else ""


def _value(attributes: object, names: tuple[str, ...]) -> str:
    found = {
        pair.key: pair.value.string_value or str(pair.value.int_value)
        for pair in attributes  # pyright: ignore[reportGeneralTypeIssues]
        if pair.key in names
    }
    return next((found[name] for name in names if name in found), "")
