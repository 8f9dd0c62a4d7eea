import json

import pytest

from otel_vtrack.errors import NotFound
from otel_vtrack.query import trace_search, traces
from otel_vtrack.query.tokens import TokenUsage
from otel_vtrack.query.traces import TraceState

MS = 1_000_000


def both_ways(store, trace_id):
    """Return a trace's infos as `get` and `search` give them, which must agree."""
    got = traces.get(store, trace_id).infos
    found = trace_search.search(store, page_size=1000).traces
    found = [info for info in found if info.trace_id == trace_id]
    assert sorted(got, key=str) == sorted(found, key=str)
    return got


def only(store, trace_id):
    [info] = both_ways(store, trace_id)
    return info


def test_a_trace_is_what_its_spans_say(store, send, trace_id):
    send(
        {
            "name": "POST /chat",
            "ms": 40,
            "attributes": {
                "input.value": "hello",
                "output.value": "bye",
                "session.id": "s1",
                "user.id": "u1",
                "service.version": "2.4.0",
                "deployment.environment.name": "production",
                "deployment.id": "d7",
                "vcs.ref.head.revision": "abc",
                "vtrack.vcs.dirty": False,
                "mlflow.traceTag.team": "blue",
                "vtrack.flag.prompt": "v2",
            },
        },
        {
            "parent": 1,
            "at": 10,
            "ms": 50,
            "status": 2,
            "attributes": {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3},
        },
        vcs__ref__head__name="main",
        vcs__repository__url__full="https://example.test/shop",
        process__command="app.py",
    )
    info = only(store, trace_id())
    assert (info.state, info.name, info.experiment) == (TraceState.OK, "POST /chat", "shop")
    assert info.execution_duration_ns == 60 * MS
    assert (info.request_preview, info.response_preview) == ("hello", "bye")
    assert (info.span_count, info.error_count) == (2, 1)
    assert info.token_usage == TokenUsage(7, 3, 10)
    assert info.trace_metadata == {
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.commit": "abc",
        "mlflow.source.git.dirty": "false",
        "mlflow.source.git.repoURL": "https://example.test/shop",
        "mlflow.source.name": "app.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.trace.session": "s1",
        "mlflow.trace.tokenUsage": '{"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}',
        "mlflow.trace.user": "u1",
    }
    assert info.tags == {
        "app_version": "2.4.0",
        "deployment_id": "d7",
        "environment": "production",
        "mlflow.traceName": "POST /chat",
        "team": "blue",
        "vtrack.flag.prompt": "v2",
    }


def test_of_two_roots_the_earlier_stands_for_the_trace(store, send, trace_id):
    send({"name": "later", "at": 5, "status": 2})
    send({"span": 9, "name": "earlier", "at": 1})
    info = only(store, trace_id())
    assert (info.name, info.state, info.span_count) == ("earlier", TraceState.OK, 2)


def test_a_trace_without_root_is_in_progress_and_becomes_ok_when_it_comes(store, send, trace_id):
    send({"span": 2, "parent": 1, "name": "child", "at": 5})
    assert only(store, trace_id()).state is TraceState.IN_PROGRESS
    send({"span": 1, "name": "root", "ms": 20})
    info = only(store, trace_id())
    assert (info.state, info.name, info.execution_duration_ns) == (TraceState.OK, "root", 20 * MS)


def test_a_parent_in_another_process_does_not_keep_a_trace_in_progress(store, send, trace_id):
    send({"span": 2, "parent": 1, "kind": 2, "status": 2})
    send({"span": 4, "trace": 2, "parent": 1, "flags": 0x300})
    assert only(store, trace_id()).state is TraceState.ERROR
    assert only(store, trace_id(2)).state is TraceState.OK


def test_an_end_before_the_start_counts_as_no_duration(store, send, trace_id):
    send({"ms": -500})
    assert only(store, trace_id()).execution_duration_ns == 0


def test_a_trace_over_services_is_one_trace_in_each(store, send, trace_id):
    send({"span": 1, "name": "front", "ms": 30}, service__name="web", service__version="1")
    send(
        {"span": 2, "parent": 1, "kind": 2, "name": "back", "at": 5, "ms": 10},
        service__name="api",
        service__version="2",
    )
    told = [
        (info.experiment, info.name, info.version, info.execution_duration_ns // MS)
        for info in both_ways(store, trace_id())
    ]
    assert told == [("web", "front", "1", 30), ("api", "back", "2", 10)]


def test_versions_within_one_experiment_are_told_by_the_root(store, send, trace_id):
    shared = {"vtrack__experiment": "all"}
    send({"span": 2, "parent": 1, "kind": 2}, service__version="2", **shared)
    send({"span": 1}, service__version="1", **shared)
    assert only(store, trace_id()).version == "1"


def test_a_span_that_is_its_own_parent_is_a_trace_in_progress(store, send, trace_id):
    send({"span": 1, "parent": 1, "attributes": {"gen_ai.usage.input_tokens": 5}})
    info = only(store, trace_id())
    assert (info.state, info.token_usage) == (TraceState.IN_PROGRESS, TokenUsage(5, 0, 5))


@pytest.mark.parametrize("start", [0, 1, 2**62, 2**63 + 5, 2**64 - 1])
def test_absurd_times_do_not_stop_an_answer(store, send, trace_id, start):
    send({"start_time_unix_nano": start, "end_time_unix_nano": start, "name": "odd"}, {"trace": 2})
    info = only(store, trace_id())
    assert (info.name, info.execution_duration_ns) == ("odd", 0)


def test_a_name_that_is_no_text_is_shown_as_hex(store, send, trace_id):
    send({"attributes": {"session.id": b"\xff\x00"}}, service__name=b"\xfe", service__version=[1])
    info = only(store, trace_id())
    assert (info.service_name, info.experiment, info.session_id) == ("fe", "fe", "ff00")


def test_session_and_user_come_from_any_span_if_the_root_does_not_say(store, send, trace_id):
    send({}, {"parent": 1, "attributes": {"session.id": "s", "enduser.id": "u"}})
    info = only(store, trace_id())
    assert (info.session_id, info.user_id) == ("s", "u")
    for text in ("session = 's'", "user = 'u'"):
        found = trace_search.search(store, text=text).traces
        assert [each.trace_id for each in found] == [trace_id()]
    assert trace_search.search(store, text="session = 'x'").traces == []


def test_the_root_s_session_wins_over_its_children_s(store, send, trace_id):
    send(
        {"attributes": {"session.id": "a"}},
        {"parent": 1, "attributes": {"session.id": "z"}},
    )
    assert only(store, trace_id()).session_id == "a"
    assert len(trace_search.search(store, text="session = 'a'").traces) == 1
    assert trace_search.search(store, text="session = 'z'").traces == []


def usage(tokens):
    return {"gen_ai.usage.input_tokens": tokens}


def test_a_parent_s_total_hides_its_descendants_at_any_depth(store, send, trace_id):
    send(
        {"span": 1},
        {"span": 2, "parent": 1, "attributes": usage(100)},
        {"span": 3, "parent": 2},
        {"span": 4, "parent": 3, "attributes": usage(60)},
        {"span": 5, "parent": 2, "attributes": usage(40)},
        {"span": 6, "parent": 1, "attributes": usage(7)},
        {"span": 7, "parent": 99, "attributes": usage(1)},
    )
    assert only(store, trace_id()).token_usage.input_tokens == 108


def test_spans_whose_ancestry_runs_in_a_circle_all_count(store, send, trace_id):
    send(
        {"span": 1, "parent": 2, "attributes": usage(1)},
        {"span": 2, "parent": 1, "attributes": usage(2)},
        {"span": 3, "parent": 2, "attributes": usage(4)},
    )
    assert only(store, trace_id()).token_usage.input_tokens == 7


def test_no_reported_usage_is_not_zero(store, send, trace_id):
    send({})
    assert only(store, trace_id()).token_usage is None


def test_a_retried_span_changes_nothing(store, writer, make_spans, trace_id):
    request = make_spans({"attributes": usage(3), "status": 2}, {"parent": 1}).SerializeToString()
    writer.write_traces(request)
    once = only(store, trace_id())
    writer.write_traces(request)
    writer.write_traces(request)
    assert only(store, trace_id()) == once


CHAT = [{"role": "user", "content": "first"}, {"role": "user", "content": "last"}]


@pytest.mark.parametrize(
    ("attributes", "asked", "answered"),
    [
        ({"input.value": "as it is", "output.value": ""}, "as it is", ""),
        ({"mlflow.spanInputs": json.dumps({"messages": CHAT})}, "last", ""),
        ({"mlflow.spanInputs": '{"messages": [broken'}, '{"messages": [broken', ""),
        ({"input.value": json.dumps({"q": 1})}, '{"q": 1}', ""),
        (
            {
                "output.value": json.dumps(
                    {"choices": [{"message": {**CHAT[0], "role": "assistant"}}]}
                )
            },
            "",
            "first",
        ),
        (
            {
                "gen_ai.input.messages": [
                    {"role": "user", "parts": [{"type": "text", "content": "structured"}]}
                ],
                "gen_ai.output.messages": [
                    {"role": "assistant", "parts": [{"type": "text", "content": "reply"}]}
                ],
            },
            "structured",
            "reply",
        ),
        ({"gen_ai.prompt.0.content": "a", "gen_ai.prompt.1.content": "b"}, "b", ""),
        ({"gen_ai.completion.0.content": "c"}, "", "c"),
        ({"input.value": "x" * 1001}, "x" * 997 + "...", ""),
        ({"input.value": b"\xff\x00"}, '"/wA="', ""),
    ],
)
def test_previews_show_what_was_said_last(  # noqa: PLR0917
    store, send, trace_id, attributes, asked, answered
):
    send({"attributes": attributes})
    info = only(store, trace_id())
    assert (info.request_preview, info.response_preview) == (asked, answered)


def test_previews_come_from_other_spans_if_the_root_does_not_say(store, send, trace_id):
    send(
        {"ms": 100},
        {
            "parent": 1,
            "at": 5,
            "ms": 90,
            "attributes": {"input.value": "2", "output.value": "last"},
        },
        {
            "parent": 1,
            "at": 2,
            "ms": 5,
            "attributes": {"input.value": "1", "output.value": "first"},
        },
    )
    info = only(store, trace_id())
    assert (info.request_preview, info.response_preview) == ("1", "last")


def test_an_unknown_trace_is_not_found(store, trace_id):
    with pytest.raises(NotFound):
        traces.get(store, trace_id(5))
