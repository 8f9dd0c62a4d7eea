"""What is found as tables: Arrow, pandas, HTML."""

import sys
from datetime import datetime, timedelta, timezone

import pandas as pd
import pyarrow as pa
import pytest

from otel_vtrack.client import Client, columns, html
from otel_vtrack.client.results import Comparison, Histogram, Records
from otel_vtrack.v1 import (
    analysis_pb2,
    assessments_pb2,
    deployments_pb2,
    experiments_pb2,
    export_pb2,
    spans_pb2,
    traces_pb2,
    versions_pb2,
)

AT = 1_790_000_000_000_000_001
HOSTILE = "<script>alert('1')</script>&\n"


def info(number=1, **fields):
    made = traces_pb2.TraceInfo(trace_id=f"{number:032x}", state="TRACE_STATE_ERROR", **fields)
    made.request_time.FromNanoseconds(AT)
    made.execution_duration.FromNanoseconds(1_500_000_000)
    return made


def infos(*messages):
    return Records(traces_pb2.TraceInfo, messages)


def assessed(name, value, *, valid=True):
    from otel_vtrack.client.values import to_value  # noqa: PLC0415

    return assessments_pb2.Assessment(assessment_name=name, value=to_value(value), valid=valid)


def test_every_field_is_a_column_of_a_fitting_type():
    used = traces_pb2.TokenUsage(total_tokens=5)
    table = infos(info(token_usage=used, tags={"a": "b"}), info(2)).to_arrow()
    types = {field.name: field.type for field in table.schema}
    assert types["trace_id"] == pa.string()
    assert types["request_time"] == pa.timestamp("ns", tz="UTC")
    assert types["execution_duration"] == pa.duration("ns")
    assert types["token_usage.total_tokens"] == pa.int64()
    assert types["cost.total_cost"] == pa.float64()
    assert types["tags"] == pa.map_(pa.string(), pa.string())
    assert types["span_count"] == pa.int64()
    assert pa.types.is_list(types["assessments"])
    [first, second] = table.to_pylist()
    assert (first["state"], first["tags"]) == ("ERROR", [("a", "b")])
    assert (first["token_usage.total_tokens"], second["token_usage.total_tokens"]) == (5, None)
    assert table.column("request_time").cast(pa.int64()).to_pylist() == [AT, AT]


def test_a_frame_has_times_lengths_and_objects():
    frame = infos(info(tags={"a": "b"}), info(2)).to_pandas()
    assert frame["request_time"][0] == pd.Timestamp(AT, tz="UTC")
    assert frame["execution_duration"].sum() == pd.Timedelta(seconds=3)
    assert frame["tags"].tolist() == [{"a": "b"}, {}]
    assert frame["token_usage.total_tokens"].dtype == pd.Int64Dtype()
    assert frame["span_count"].dtype == "int64"
    assert frame["token_usage.total_tokens"].isna().all()


def test_nothing_found_is_an_empty_table_of_the_same_columns():
    empty, full = infos(), infos(info())
    assert empty.to_arrow().schema == full.to_arrow().schema
    assert list(empty.to_pandas().columns) == list(full.to_pandas().columns)
    assert empty.to_pandas(["tags.a"]).empty


def test_columns_are_chosen_in_their_order_and_made_of_maps_and_assessments():
    rows = infos(
        info(1, tags={"tier": "1"}, assessments=[assessed("good", 0.5, valid=False)]),
        info(2, tags={"b": "x"}, assessments=[assessed("good", 1), assessed("note", "fine")]),
    )
    table = rows.to_arrow(["trace_id", "tags.tier", "assessments.good", "tags.none"])
    assert table.column_names == ["trace_id", "tags.tier", "assessments.good", "tags.none"]
    assert table.column("tags.tier").to_pylist() == ["1", None]
    assert table.column("assessments.good").to_pylist() == [None, 1]
    assert table.column("tags.none").to_pylist() == [None, None]
    every = rows.to_arrow(["tags.*", "name", "assessments.*"]).column_names
    assert every == ["tags.b", "tags.tier", "name", "assessments.good", "assessments.note"]
    assert rows.to_pandas(["*", "tags.tier"]).columns[-1] == "tags.tier"
    with pytest.raises(ValueError, match="there is no column 'nme'; there are trace_id"):
        rows.to_arrow(["nme"])
    with pytest.raises(ValueError, match=r"no column 'name\.x'"):
        rows.to_arrow(["name.x"])


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1, 0.5], pa.float64(), [1.0, 0.5]),
        ([True, False], pa.bool_(), [True, False]),
        (["a", "b"], pa.string(), ["a", "b"]),
        (["a", 1], pa.string(), ['"a"', "1"]),
        ([[1], {"a": None}], pa.string(), ["[1]", '{"a": null}']),
    ],
)
def test_a_column_of_assessments_has_the_type_that_holds_them_all(values, kind, shown):
    rows = infos(*(info(n, assessments=[assessed("a", v)]) for n, v in enumerate(values)))
    column = rows.to_arrow(["assessments.a"]).column(0)
    assert (column.type, column.to_pylist()) == (kind, shown)


def test_a_value_of_any_kind_is_json_in_arrow_and_an_object_in_pandas():
    rows = Records(
        assessments_pb2.Assessment, [assessed("a", v) for v in (0.5, "yes", [1, {"b": None}])]
    )
    assert rows.to_arrow(["value"]).column(0).to_pylist() == ["0.5", '"yes"', '[1, {"b": null}]']
    assert rows.to_pandas()["value"].tolist() == [0.5, "yes", [1, {"b": None}]]


def test_the_attributes_of_a_span_are_columns_when_asked_for(make_spans):
    sent = make_spans({"attributes": {"model": "m", "tokens": 5, "parts": ["a"]}})
    span = spans_pb2.Span(span_id="1" * 16, otlp=sent.SerializeToString())
    rows = Records(spans_pb2.Span, [span, spans_pb2.Span()])
    frame = rows.to_pandas(["attributes", "attributes.tokens"])
    assert frame["attributes"][0] == {"model": "m", "tokens": 5, "parts": ["a"]}
    assert frame["attributes"][1] is None
    assert frame["attributes.tokens"].tolist()[0] == 5
    assert "otlp" not in rows.to_arrow().column_names


def test_a_search_becomes_a_table_over_many_pages(client, send):
    for number in range(1, 4):
        send({"trace": number, "at": number, "ms": 2}, service__version="1")
    search = client.search_traces(page_size=1)
    frame = search.to_pandas()
    assert frame["trace_id"].tolist() == [f"{n:032x}" for n in (3, 2, 1)]
    assert frame["tags"][0]["app_version"] == "1"
    assert frame["execution_duration"].tolist() == [pd.Timedelta(milliseconds=2)] * 3
    assert search.to_arrow().num_rows == 3
    assert client.search_traces(limit=2).to_arrow(["name"]).num_rows == 2
    assert client.search_traces(name="none").to_pandas().empty


@pytest.mark.parametrize(
    "module",
    [
        analysis_pb2,
        assessments_pb2,
        deployments_pb2,
        experiments_pb2,
        export_pb2,
        spans_pb2,
        traces_pb2,
        versions_pb2,
    ],
    ids=lambda module: module.__name__,
)
def test_every_message_there_is_becomes_a_table(module):
    for name in module.DESCRIPTOR.message_types_by_name:
        kind = getattr(module, name)
        rows = Records(kind, [kind()])
        if kind.DESCRIPTOR.fields:
            assert rows.to_arrow().num_rows == 1
            assert len(rows.to_pandas()) == 1
        assert "<table>" in rows._repr_html_()


def test_exported_changes_become_a_table():
    row = export_pb2.AssessmentRow(change_time=2**63 - 1, value="1")
    rows = Records(export_pb2.Change, [export_pb2.Change(assessment=row)])
    assert rows.to_arrow(["assessment.change_time"]).column(0).to_pylist() == [2**63 - 1]
    batch = Records(export_pb2.TelemetryBatch, [export_pb2.TelemetryBatch(otlp=b"\xff")])
    assert batch.to_arrow(["otlp"]).column(0).to_pylist() == [b"\xff"]
    assert "1 bytes" in batch._repr_html_()


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'otel-vtrack\[analysis\]'"):
        infos().to_arrow()


def test_without_pandas_there_is_still_arrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert infos(info()).to_arrow().num_rows == 1
    with pytest.raises(ImportError, match="pandas is missing"):
        infos().to_pandas()


def test_html_shows_the_first_rows_and_lets_nothing_through():
    many = infos(*(info(n, name=HOSTILE, request_preview="x" * 500) for n in range(11)))
    shown = many._repr_html_()
    assert shown.count("<tr>") == 11
    assert "the first 10 of 11" in shown
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "x" * 200 not in shown
    assert "1.5 s" in shown
    assert "2026-09-21 14:13:20" in shown
    assert repr(many) == "<11 TraceInfo>"


def test_columns_that_html_shows_exist():
    from google.protobuf import symbol_database  # noqa: PLC0415

    for name, shown in html._COLUMNS.items():
        kind = symbol_database.Default().GetSymbol(f"otel_vtrack.v1.{name}")
        assert set(shown) <= {column.name for column in columns.of(kind.DESCRIPTOR)}, name


def test_a_search_shows_itself_and_asks_only_for_html(client, send):
    send({"name": HOSTILE})
    search = client.search_traces(name=HOSTILE, limit=50)
    assert "limit=50" in repr(search)
    assert "script" in repr(search)
    assert "<script" not in search._repr_html_()
    assert "&lt;script&gt;" in search._repr_html_()
    assert "none" in client.search_traces(name="other")._repr_html_()
    wrong = client.search_traces("<b> = 1")._repr_html_()
    assert wrong.startswith("<pre>")
    assert "&lt;b&gt;" in wrong


def test_a_trace_shows_its_spans_as_a_tree(client, send, trace_id):
    send({"name": HOSTILE}, {"name": "inner", "parent": 1, "at": 2, "status": 2})
    trace = client.get_trace(trace_id())
    shown = trace._repr_html_()
    assert "\N{NO-BREAK SPACE}inner" in shown
    assert "2 ms" in shown
    assert "error" in shown
    assert "<script" not in shown
    assert repr(trace).startswith(f"<Trace {trace_id()} ")


def test_a_comparison_shows_its_figures():
    figure = analysis_pb2.FigureComparison(
        figure="p50",
        baseline=analysis_pb2.Estimate(value=10, lower=9, upper=11),
        candidate=analysis_pb2.Estimate(value=20),
        change=analysis_pb2.Estimate(value=1),
    )
    metric = analysis_pb2.MetricComparison(
        metric="latency",
        verdict="VERDICT_NOT_ENOUGH_DATA",
        summary=HOSTILE,
        figures=[figure],
        adjusted_p_value=0.012,
    )
    found = Comparison(analysis_pb2.Comparison(metrics=[metric]))
    shown = found._repr_html_()
    for text in ("10 [9, 11]", "20 [?, ?]", "+100.0%", "not enough data", "0.012", "latency"):
        assert text in shown
    assert "<script" not in shown
    assert "Comparison" in repr(found)


def test_a_histogram_shows_bars_and_becomes_a_table():
    bucket = traces_pb2.TraceHistogramBucket(trace_count=3, error_count=1)
    bucket.start_time.FromNanoseconds(AT)
    answer = traces_pb2.GetTraceHistogramResponse(buckets=[bucket])
    answer.width.FromTimedelta(timedelta(minutes=5))
    found = Histogram(answer)
    assert found.width == timedelta(minutes=5)
    assert "█" in found._repr_html_()
    frame = found.to_pandas()
    assert frame["trace_count"].tolist() == [3]
    assert frame["start_time"][0] == pd.Timestamp(AT, tz="UTC")


def test_single_messages_are_tables_in_ipython(client, send):
    from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415

    shell = InteractiveShell.instance()
    try:
        with Client():
            pass
        made = experiments_pb2.Experiment(name=HOSTILE, tags={"a": "b"})
        made.first_seen.FromDatetime(datetime(2026, 1, 1, tzinfo=timezone.utc))
        shown, _ = shell.display_formatter.format(made)
    finally:
        InteractiveShell.clear_instance()
    assert "<script" not in shown["text/html"]
    assert "2026-01-01 00:00:00" in shown["text/html"]
    assert "a=b" in shown["text/html"]


def test_records_are_a_sequence():
    rows = infos(info(1), info(2), info(3))
    assert rows[0] == info(1)
    assert rows[1:] == infos(info(2), info(3))
    assert rows == [info(1), info(2), info(3)]
    assert [each.trace_id for each in reversed(rows)] == [f"{n:032x}" for n in (3, 2, 1)]
