"""Parts of what a server keeps, interrupted exports, and files that are none."""

import json
import os
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_vtrack.client import Client
from otel_vtrack.errors import InvalidArgument, WireError
from otel_vtrack.transfer import (
    FORMATS,
    What,
    export_to,
    files,
    frames,
    import_from,
    incoming,
    items,
    line_reader,
    pages,
    splitting,
)
from otel_vtrack.transfer import lines as written
from otel_vtrack.wire import otlp_json

START = datetime.fromtimestamp(1_790_000_000, timezone.utc)


@pytest.fixture
def client(full):
    with Client(full.grpc, timeout=60) as opened:
        yield opened


def lines(client, tmp_path, **what):
    path = tmp_path / "part.jsonl"
    export_to(path, client, What(**what), format="jsonl")
    found = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    return found


def traces_of(found, kind):
    return sorted(it["span"]["traceId"][:2] for it in found if it["type"] == kind)


def test_an_experiment_alone_is_exported_by_either_of_its_names(client, tmp_path):
    found = lines(client, tmp_path, experiment="shop")
    assert {it.get("experiment", "shop") for it in found} == {"shop"}
    assert {it["type"] for it in found} >= {"span", "log_record", "experiment", "trace_tag"}
    assert lines(client, tmp_path, experiment="The Shop") == found


def test_a_time_restricts_telemetry_and_what_is_about_its_traces(client, tmp_path):
    until = START + timedelta(seconds=120)
    found = lines(client, tmp_path, experiment="shop", since=START, until=until)
    assert traces_of(found, "span") == ["01", "01", "02", "02"]
    about = {it["trace_id"][:2] for it in found if it["type"] == "assessment"}
    assert about == {"01", "02"}
    later = lines(client, tmp_path, experiment="shop", since=until)
    assert traces_of(later, "span") == sorted(2 * [f"0{n}" for n in range(3, 8)])
    assert {it["type"] for it in later} >= {"experiment", "deployment"}
    assert not [it for it in later if it["type"] == "trace_tag"]


def test_a_filter_restricts_to_traces_that_it_finds(client, tmp_path):
    found = lines(client, tmp_path, filter="tag.color = 'red' OR name = 'step 3'")
    assert {it[:2] for it in traces_of(found, "span")} == {"01", "03", "67"}
    assert {it["trace_id"][:2] for it in found if it["type"] == "assessment"} == {"01", "03", "67"}
    assert [it["value"] for it in found if it["type"] == "trace_tag"] == ["red"]
    records = [it["logRecord"]["traceId"][:2] for it in found if it["type"] == "log_record"]
    assert set(records) == {"01", "03"}
    early = lines(client, tmp_path, filter="name LIKE 'step%'", until=START + timedelta(seconds=99))
    assert set(traces_of(early, "span")) == {"01", "65"}


def test_a_filter_that_is_none_is_refused(client, tmp_path):
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        lines(client, tmp_path, filter="nonsense = = 1")


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_that_was_broken_off_goes_on_where_it_stopped(
    client, tmp_path, monkeypatch, form
):
    whole = tmp_path / "whole"
    export_to(whole, client, format=form)
    broken = tmp_path / "broken"
    small = pages.read
    monkeypatch.setattr(pages, "MAX_BYTES", 1_000)
    monkeypatch.setattr(pages, "PAGE_SIZE", 2)
    for stop in (1, 2, 5, 30):
        monkeypatch.setattr("otel_vtrack.transfer.outgoing.pages.read", stopping(small, stop))
        with pytest.raises(KeyboardInterrupt):
            export_to(broken, client, format=form)
        assert (tmp_path / "broken.state").exists()
        with pytest.raises(InvalidArgument, match="is incomplete"):
            import_from([broken], client)
        with pytest.raises(InvalidArgument, match="another export"):
            export_to(broken, client, What(experiment="shop"), format=form)
        spoil(broken)
    monkeypatch.setattr("otel_vtrack.transfer.outgoing.pages.read", small)
    export_to(broken, client, format=form)
    assert not (tmp_path / "broken.state").exists()
    assert entities(broken) == entities(whole)


def stopping(read, after):
    def pages_until(*args):
        for number, page in enumerate(read(*args)):
            if number == after:
                raise KeyboardInterrupt
            yield page

    return pages_until


def spoil(path):
    """Leave what an end in the middle of a page leaves behind."""
    written = [path] if path.is_file() else [it for it in path.rglob("*") if it.is_file()]
    for each in written:
        if each.suffix == ".parquet":
            number = int(each.stem[-5:]) + 500
            each.with_name(f"part-{number:05}.parquet").write_bytes(b"cut off")
        else:
            with each.open("ab") as file:
                file.write(b'{"cut off')


def entities(path):
    """Return what is in an export, one line each."""
    from otel_vtrack.transfer import incoming, lines  # noqa: PLC0415

    found = [
        line
        for name in incoming.files([str(path)])
        for item in incoming.read(name)
        for line in lines.of_entities(item)
    ]
    assert len(found) == len(set(found)) > 50
    return sorted(found)


def test_lines_are_what_a_parser_would_write(kinds):
    data = TracesData()
    for number in range(2):
        group = data.resource_spans.add(schema_url="r" * number)
        if number:
            kinds(group.resource.attributes)
        for name in ("scope", ""):
            scoped = group.scope_spans.add(schema_url="s" * number)
            scoped.scope.name = name
            for kind in range(-1, 3):
                span = scoped.spans.add(
                    trace_id=b"\x01" * 16,
                    span_id=bytes([2 + kind]) * 8,
                    kind=kind,
                    name='q"\u2028\x00\N{PILE OF POO}' * number,
                    start_time_unix_nano=2**64 - 1,
                    flags=2**32 - 1,
                    dropped_links_count=2**32 - 1,
                )
                kinds(span.attributes)
                kinds(span.events.add(name="e", time_unix_nano=3).attributes)
                span.events.add()
                kinds(span.links.add(trace_id=b"\x02" * 16).attributes)
                span.status.message, span.status.code = "m" * number, max(kind, 0)
    item = items.Telemetry(items.SPANS, "e", data.SerializeToString(), 16, 2.5)
    whole = {**otlp_json.as_object(data), "vtrackExperiment": "e", "vtrackAdjustedCount": 2.5}
    [line] = written.of_otlp(item)
    assert line == json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    spans = [json.loads(line)["span"] for line in written.of_entities(item)]
    assert spans == [
        otlp_json.as_object(span)
        for group in data.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]
    # And back: the same of the one line, and of one line for each span.
    (told,) = read_all([line])
    assert told._replace(otlp=b"") == item._replace(otlp=b"")
    assert TracesData.FromString(told.otlp) == data
    (told,) = read_all(written.of_entities(item))
    back = TracesData.FromString(told.otlp)
    # Each of these stands in a ResourceSpans of its own.
    apart = TracesData()
    for group in data.resource_spans:
        for scoped in group.scope_spans:
            one = apart.resource_spans.add()
            one.CopyFrom(group)
            del one.scope_spans[:]
            one.scope_spans.add().CopyFrom(scoped)
    assert back == apart
    assert (told.experiment, told.items, told.adjusted_count) == ("e", 16, 2.5)


def read_all(texts):
    reader = line_reader.Reader(1 << 20)
    found = [it for text in texts for it in reader.read(text.encode())]
    return [*found, *reader.flush()]


SPAN = '{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}'


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "null",
        '{"name":null,"attributes":null,"unknown":{"a":[1]},"status":{},"events":[null]}',
        '{"name":"a","name":"b","attributes":[{"key":"a"}],"attributes":[null,{"value":{}}]}',
        (
            '{"attributes":[{"key":"k","value":{"doubleValue":0.0}},'
            '{"key":"k","value":{"doubleValue":-0.0}},{"key":"k","value":{"doubleValue":1}},'
            '{"key":"k","value":{"intValue":1.0}},{"key":"k","value":{"boolValue":true}},'
            '{"key":"k","value":{"doubleValue":"NaN"}},{"value":{"stringValue":"v"},"key":"k"},'
            '{"key":"k","value":{"stringValue":"v","intValue":"1"}},{"key":"k","value":null},'
            '{"key":"k","value":{"stringValue":null}},{"key":"k","key":"l","value":{"a":1}},'
            '{"key":"k","value":{"arrayValue":{"values":[null,{"intValue":"-1"}]}}}]}'
        ),
        ' { "kind" : "3" , "startTimeUnixNano" : 7 , "endTimeUnixNano" : "18446744073709551615" } ',
        '{"endTimeUnixNano":"18446744073709551616"}',
        '{"flags":4294967296}',
        '{"kind":2147483648}',
        '{"kind":"SPAN_KIND_SERVER"}',
        '{"traceId":"0x"}',
        '{"name":7}',
        '{"name":"\\ud800"}',
        '{"attributes":{}}',
        '{"attributes":[[["key","a"],["value",[["stringValue","b"]]]]]}',
        '{"attributes":[{"key":"k","value":[["stringValue","b"]]}]}',
        '{"attributes":[{"key":"k","value":{"intValue":true}}]}',
        '{"attributes":[{"key":"k","value":{"intValue":"9223372036854775808"}}]}',
        '{"status":[]}',
        '{"name":"a"},',
        '{"name":"a"} {}',
        "[" * 3_000 + "]" * 3_000,
        '{"attributes":[{"key":"k","value":%s}]}'
        % ('{"arrayValue":{"values":[' * 60 + "{}" + "]}}" * 60),
    ],
)
def test_lines_are_read_as_a_parser_would_read_them(text):
    entity = f'{{"type":"span","experiment":"e","scope":{{"name":"s"}},"span":{text}}}'
    for line in (SPAN % text, entity):
        expected = outcome(lambda text: [written.read(text.encode())], line)
        told = outcome(read_all, [line])
        if isinstance(expected, str):
            assert told == expected
            continue
        (expected,), (told,) = expected, told
        assert told._replace(otlp=b"") == expected._replace(otlp=b"")
        # Compared as text, as NaN is not equal to itself.
        was, now = (str(TracesData.FromString(it.otlp)) for it in (expected, told))
        assert now == was


def outcome(read, what):
    try:
        return read(what)
    except WireError as error:
        return str(error)


def test_what_is_there_is_not_written_over(client, tmp_path):
    path = tmp_path / "mine"
    path.write_text("mine")
    with pytest.raises(InvalidArgument, match="already exists"):
        export_to(path, client)
    assert path.read_text() == "mine"
    with pytest.raises(InvalidArgument, match="folder"):
        export_to("-", client, format="otlp")
    with pytest.raises(InvalidArgument, match="is not a format"):
        export_to(tmp_path / "new", client, format="xml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x00\x00\x05abc", "is truncated"),
        (b"neither", "nothing that"),
        (b'{"resourceSpans": [{"scopeSpans": 7}]}\n', "line 1: .*scopeSpans"),
        (b'{"a": 1}\n', "line 1: this is neither OTLP"),
        (b'{"resourceMetrics": []}\n{"resourceSpans": []\n', "line 2: this is not JSON"),
        (b'{"type": "assessment", "nonsense": 1}\n', "not a change"),
        (b'{"type": "unheard of"}\n', "not a change"),
        (b"PAR1 but nothing more", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_told_by_its_place(client, tmp_path, content, said):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(WireError, match=said):
        import_from([path], client)
    with pytest.raises(InvalidArgument, match="does not exist"):
        import_from([tmp_path / "other"], client)


def test_files_of_the_collector_are_imported(empty, tmp_path):
    """Its file exporter writes requests as JSON lines, or as protobuf with lengths."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "collected"
    group.scope_spans.add().spans.add(
        trace_id=b"\x07" * 16, span_id=b"\x07" * 8, name="by proto", start_time_unix_nano=10**18
    )
    body = request.SerializeToString()
    (tmp_path / "traces.bin").write_bytes(len(body).to_bytes(4, "big") + body)
    (tmp_path / "traces.json").write_text(
        '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":'
        '{"stringValue":"collected"}}]},"scopeSpans":[{"scope":{},"spans":[{"traceId":'
        '"08080808080808080808080808080808","spanId":"0808080808080808","name":"by json",'
        '"startTimeUnixNano":"1000000000000000001"}]}]}]}\n'
        '{"resourceMetrics":[]}\n\n'
    )
    served = empty()
    with Client(served.grpc, timeout=60) as client:
        counts = import_from([tmp_path / "traces.bin", tmp_path / "traces.json"], client)
        assert (counts.spans, counts.rejected) == (2, 0)
        names = {it.name: it.experiment for it in client.search_traces()}
    assert names == {"by proto": "collected", "by json": "collected"}
    served.stop()


def test_other_readers_find_plain_OTLP_in_protobuf_files(client, tmp_path):  # noqa: N802
    export_to(tmp_path / "out", client, What(experiment="by header"), format="otlp")
    raw = (tmp_path / "out" / files.FRAME_FILES[items.SPANS]).read_bytes()
    size = int.from_bytes(raw[:4], "big")
    request = ExportTraceServiceRequest.FromString(raw[4 : 4 + size])
    assert request.resource_spans[0].scope_spans[0].spans[0].name.startswith("step")
    assert [it.experiment for it in frames.read(memoryview(raw), 1 << 20)] == ["by header"]


def test_changes_come_last_in_every_format_whatever_the_folder_is_called(
    client, tmp_path, monkeypatch
):
    # None of these is a part of what is imported.
    within = tmp_path / "changes" / "assessment"
    within.mkdir(parents=True)
    monkeypatch.chdir(within)
    export_to("pb", client, What(experiment="shop"), format="otlp")
    assert incoming.files(["pb"]) == ["pb/log_records.pb", "pb/spans.pb", "pb/changes.jsonl"]
    pytest.importorskip("pyarrow")
    export_to("table", client, What(experiment="shop"), format="parquet")
    kinds = [name.split("/")[1] for name in incoming.files(["table"])]
    assert set(kinds[2:]) >= {"assessment", "deployment", "trace_tag", "version"}
    assert kinds[:2] == ["log_records", "spans"]
    kinds = [name.split("/")[-2] for name in incoming.files([str(within)])]
    assert kinds[:5] == ["pb", "pb", "log_records", "spans", "pb"]


def test_parquet_is_read_at_a_glance_by_pandas(client, tmp_path):
    pandas = pytest.importorskip("pandas")
    export_to(tmp_path / "out", client, What(experiment="shop"), format="parquet")
    spans = pandas.read_parquet(tmp_path / "out" / "spans")
    root = spans[spans["name"] == "step 2"].iloc[0]
    assert dict(root["resource_attributes"])["service.version"] == "1.0"
    assert dict(root["attributes"])["int 0"] == "0"
    assert str(root["start_time"]).startswith("2026-")
    said = pandas.read_parquet(tmp_path / "out" / "assessment")
    assert set(said["assessment_name"].dropna()) >= {"relevance", "in log", "in span"}
    assert os.listdir(tmp_path / "out" / "spans") == ["part-00000.parquet"]  # noqa: PTH208


def test_messages_too_large_for_a_request_are_cut_between_their_spans(empty, tmp_path):
    """As others write them: all of a day in one message, with or without its length before it."""
    request = ExportTraceServiceRequest()
    for resource in range(2):
        group = request.resource_spans.add(schema_url="r")
        group.resource.attributes.add(key="service.name").value.string_value = f"s{resource}"
        for scope in range(2):
            scoped = group.scope_spans.add(schema_url="s")
            scoped.scope.name = f"scope {scope}"
            for number in range(1, 90 if scope else 3):
                span = scoped.spans.add(
                    trace_id=bytes([1 + resource, 1 + scope]) + bytes(14),
                    span_id=number.to_bytes(8, "big"),
                    start_time_unix_nano=10**18 + number,
                )
                span.attributes.add(key="long").value.string_value = "x" * 60_000
    body = request.SerializeToString()
    assert len(body) > 2 * incoming.PIECE_BYTES

    def around(data):
        return sorted(
            (outer, scoped.scope.name, scoped.schema_url, span.trace_id, span.span_id)
            for group in data.resource_spans
            for outer in [(group.resource.attributes[0].value.string_value, group.schema_url)]
            for scoped in group.scope_spans
            for span in scoped.spans
        )

    for most in (1, 70_000, 1 << 20, 1 << 30):
        parts = list(splitting.pieces(body, most))
        assert max(map(len, parts)) <= max(most, 61_000) + 1_000
        whole = ExportTraceServiceRequest.FromString(b"".join(parts))
        assert around(whole) == around(request)
    with pytest.raises(WireError):
        list(splitting.pieces(body[:-9], 70_000))
    (tmp_path / "one.pb").write_bytes(body)
    (tmp_path / "framed.pb").write_bytes(len(body).to_bytes(4, "big") + body)
    (tmp_path / "one.json").write_text(otlp_json.write(request))
    served = empty()
    with Client(served.grpc, timeout=60) as client:
        for name in ("one.pb", "framed.pb", "one.json"):
            counts = import_from([tmp_path / name], client)
            assert (counts.spans, counts.rejected) == (len(around(request)), 0)
        found = export_to(tmp_path / "back", client, format="otlp")
    assert found.spans == len(around(request))
    served.stop()
