"""Result types of client methods that return more than a plain message."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from google.protobuf.message import Message
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from otel_vtrack.client import columns, html
from otel_vtrack.client.frames import Table
from otel_vtrack.client.values import nanoseconds
from otel_vtrack.v1 import analysis_pb2, traces_pb2

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

M = TypeVar("M", bound=Message)


class Records(Sequence[M], Generic[M]):
    """A list of messages of one type."""

    def __init__(self, kind: type[M], messages: Iterable[M]) -> None:
        self._kind = kind
        self._messages = list(messages)

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, index: int) -> M: ...
    @overload
    def __getitem__(self, index: slice) -> "Records[M]": ...
    def __getitem__(self, index: int | slice) -> "M | Records[M]":
        if isinstance(index, slice):
            return Records(self._kind, self._messages[index])
        return self._messages[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Records):
            return self._messages == other._messages
        return self._messages == other

    __hash__ = None  # pyright: ignore[reportAssignmentType] - like a list

    def to_arrow(self, columns: Sequence[str] | None = None) -> "pa.Table":  # pyright: ignore[reportUnknownParameterType]
        """Convert to an Arrow table; see `Search.to_arrow`."""
        table = Table(self._kind.DESCRIPTOR, columns)
        table.add(self._messages)
        return table.arrow()

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Convert to a DataFrame; see `Search.to_pandas`."""
        table = Table(self._kind.DESCRIPTOR, columns)
        table.add(self._messages)
        return table.pandas()

    def __repr__(self) -> str:
        return f"<{len(self)} {self._kind.DESCRIPTOR.name}>"

    def _repr_html_(self) -> str:
        note = f"the first {html.ROWS} of {len(self):,}" if len(self) > html.ROWS else ""
        return html.messages(self._kind, self._messages, note)


class Trace:
    """A trace.

    Attributes:
        infos: Its summaries, one for each experiment that it crosses, earliest first.
        otlp: Its spans as they were sent, earliest first.
    """

    def __init__(self, infos: Records[traces_pb2.TraceInfo], otlp: TracesData) -> None:
        self.infos = infos
        self.otlp = otlp

    @property
    def spans(self) -> list[Span]:
        """Its spans, without resources and scopes."""
        return [
            span
            for group in self.otlp.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def __iter__(self) -> Iterator[Any]:
        """Support unpacking, as in `infos, otlp = trace`."""
        return iter((self.infos, self.otlp))

    def __repr__(self) -> str:
        if not self.infos:
            return "<Trace>"
        info = self.infos[0]
        length = columns.length(nanoseconds(info.execution_duration))
        state = traces_pb2.TraceState.Name(info.state).removeprefix("TRACE_STATE_")
        return f"<Trace {info.trace_id} {info.name!r} {state} {length}, {len(self.spans)} spans>"

    def _repr_html_(self) -> str:
        spans = self.spans
        start = min((span.start_time_unix_nano for span in spans), default=0)
        parents = {span.span_id: span.parent_span_id for span in spans}
        rows = [
            (
                "\N{NO-BREAK SPACE}" * 4 * _depth(span.span_id, parents) + span.name,
                columns.length(span.start_time_unix_nano - start),
                columns.length(max(0, span.end_time_unix_nano - span.start_time_unix_nano)),
                span.status.message or ("error" if span.status.code == 2 else ""),
            )
            for span in spans[:_MOST_SPANS]
        ]
        note = f"the first {_MOST_SPANS} of {len(spans):,}" if len(spans) > _MOST_SPANS else ""
        return self.infos._repr_html_() + html.table(
            ("span", "after", "duration", "error"), rows, note
        )


_MOST_SPANS = 200
_DEEPEST = 20


def _depth(span_id: bytes, parents: dict[bytes, bytes]) -> int:
    depth = 0
    while depth < _DEEPEST and (span_id := parents.get(span_id, b"")) in parents:
        depth += 1
    return depth


class Histogram(Records[traces_pb2.TraceHistogramBucket]):
    """Number of traces over time, earliest first; buckets without traces are omitted.

    Attributes:
        width: Width of a bucket.
        message: The whole response.
    """

    def __init__(self, answer: traces_pb2.GetTraceHistogramResponse) -> None:
        self.message = answer
        super().__init__(traces_pb2.TraceHistogramBucket, answer.buckets)
        self.width = answer.width.ToTimedelta()

    def _repr_html_(self) -> str:
        most = max((bucket.trace_count for bucket in self), default=1)
        rows = [
            (
                columns.moment(nanoseconds(bucket.start_time)),
                f"{bucket.trace_count:,}",
                f"{bucket.error_count:,}",
                "█" * max(1, round(40 * bucket.trace_count / most)),
            )
            for bucket in self
        ]
        return html.table(("start (UTC)", "traces", "errors", f"{self.width} each"), rows)


class Comparison:
    """Two versions side by side.

    Attributes:
        message: The whole comparison.
    """

    def __init__(self, message: analysis_pb2.Comparison) -> None:
        self.message = message

    @property
    def experiment(self) -> str:
        """Experiment of the traces."""
        return self.message.experiment

    @property
    def baseline(self) -> analysis_pb2.VersionSample:
        """The version compared against."""
        return self.message.baseline

    @property
    def candidate(self) -> analysis_pb2.VersionSample:
        """The version under test."""
        return self.message.candidate

    @property
    def metrics(self) -> Sequence[analysis_pb2.MetricComparison]:
        """One for each requested metric."""
        return self.message.metrics

    @property
    def mix(self) -> Sequence[analysis_pb2.MixDifference]:
        """Dimensions in which the mixes of the versions' traces differ by more than chance."""
        return self.message.mix

    @property
    def groups(self) -> Sequence[analysis_pb2.ComparisonGroup]:
        """The comparison within each requested group."""
        return self.message.groups

    @property
    def sampled_one_in(self) -> int:
        """One in this many traces was used, of the more sparsely sampled version; 1 means all."""
        return self.message.sampled_one_in

    @property
    def summary(self) -> str:
        """The conclusions, one metric per line."""
        return "\n".join(metric.summary for metric in self.metrics)

    def to_pandas(self) -> "pd.DataFrame":
        """Convert to a DataFrame with a row for each figure of each metric.

        Beside the figures of both versions with their intervals (`baseline.value`, `.lower`,
        `.upper` and so on) it has the metric's `verdict`, its `deciding_figure` and
        `adjusted_p_value`.
        """
        rows = [(metric, figure) for metric in self.metrics for figure in metric.figures]
        figures = Records(analysis_pb2.FigureComparison, (figure for _, figure in rows))
        tests = Records(analysis_pb2.MetricComparison, (metric for metric, _ in rows))
        frame = figures.to_pandas()
        for name, values in tests.to_pandas(["metric", *_TEST]).items():
            frame.insert(0 if name == "metric" else len(frame.columns), str(name), values)
        return frame

    def __repr__(self) -> str:
        return f"<Comparison {self.baseline.version} {self.candidate.version}\n{self.summary}>"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = []
        for metric in self.metrics:
            verdict = analysis_pb2.Verdict.Name(metric.verdict).removeprefix("VERDICT_").lower()
            p_value = (
                f"{metric.adjusted_p_value:.2g}" if metric.HasField("adjusted_p_value") else ""
            )
            for number, figure in enumerate(metric.figures):
                change = f"{figure.change.value:+.1%}" if figure.HasField("change") else ""
                rows.append(
                    (
                        "" if number else metric.metric,
                        figure.figure,
                        *(
                            _estimate(getattr(figure, field)) if figure.HasField(field) else ""
                            for field in ("baseline", "candidate", "difference")
                        ),
                        change,
                        "" if number else verdict.replace("_", " "),
                        "" if number else p_value,
                    )
                )
        heads = (
            "metric",
            "",
            f"{self.baseline.version} ({self.baseline.trace_count:,} traces)",
            f"{self.candidate.version} ({self.candidate.trace_count:,} traces)",
            "difference",
            "change",
            "verdict",
            "adjusted p",
        )
        return html.table(heads, rows, " ".join(metric.summary for metric in self.metrics))


_TEST = ("verdict", "deciding_figure", "adjusted_p_value")


def _estimate(found: analysis_pb2.Estimate) -> str:
    bounds = [
        f"{getattr(found, field):.4g}" if found.HasField(field) else "?"
        for field in ("lower", "upper")
    ]
    return f"{found.value:.4g} [{bounds[0]}, {bounds[1]}]"
