"""Evaluations in telemetry become assessments, in whatever form they come."""

import json
from datetime import datetime, timezone

import pytest

from otel_vtrack.query import assessments
from otel_vtrack.query.assessments import AssessmentType, SourceType
from otel_vtrack.store import sql

EVENT = "gen_ai.evaluation.result"
NAME = "gen_ai.evaluation.name"
SCORE = "gen_ai.evaluation.score.value"
LABEL = "gen_ai.evaluation.score.label"
WHY = "gen_ai.evaluation.explanation"
OURS = "vtrack.assessment."


@pytest.fixture
def tell(store, writer, otlp):
    """Send evaluations as log records of trace 1 and span 1, and return what there is then."""

    def send(*events, trace=1, span=1, at=1, **fields):
        given = {
            "trace_id": otlp.trace_id(trace),
            "span_id": otlp.span_id(span),
            "time_unix_nano": otlp.T0 + at,
            "event_name": EVENT,
        } | fields
        records = [
            otlp.record(attributes={NAME: "it"} | attributes, **given) for attributes in events
        ]
        writer.write_logs(otlp.logs(*records).SerializeToString())
        return everything(store)

    return send


@pytest.fixture
def stamp(store, writer, otlp):
    """Send spans with these attributes and events, and return what there is then."""

    def send(*attributes, events=(), links=(), **fields):
        spans = [
            otlp.span(number, attributes=each, **fields)
            for number, each in enumerate(attributes, 1)
        ]
        for name, told in events:
            otlp.add_attributes(spans[0].events.add(name=name, time_unix_nano=otlp.T0 + 1), told)
        for trace, span in links:
            spans[0].links.add(trace_id=otlp.trace_id(trace), span_id=otlp.span_id(span))
        writer.write_traces(otlp.request(*spans).SerializeToString())
        return everything(store)

    return send


def everything(store):
    return assessments.search(store, page_size=1000).assessments


def columns(store):
    return store.select(
        "SELECT value, value_type, number FROM assessments FINAL ORDER BY assessment_name"
    )


# Score and label

OUTCOMES = [
    ({SCORE: 0.25}, "0.25"),
    ({SCORE: 1.0}, "1"),
    ({SCORE: 7}, "7"),
    ({SCORE: -1e-7}, "-1e-7"),
    ({SCORE: True}, "true"),
    ({SCORE: "0.5"}, '"0.5"'),
    ({LABEL: "kind"}, '"kind"'),
    ({LABEL: 'a/b "c" \\ \n ß 🦜'}, json.dumps('a/b "c" \\ \n ß 🦜', ensure_ascii=False)),
    ({SCORE: 1.0, LABEL: "pass"}, "true"),
    ({SCORE: 0.0, LABEL: "fail"}, "false"),
    ({SCORE: 1, LABEL: "True"}, "true"),
    ({SCORE: 0.0, LABEL: "pass"}, "0"),
    ({SCORE: 0.9, LABEL: "pass"}, "0.9"),
    ({SCORE: float("inf")}, '"inf"'),
    ({WHY: "because"}, "null"),
    ({SCORE: 0.5, "error.type": "Late"}, "0.5"),
    ({f"{OURS}value": "[1, {}]", SCORE: 0.5}, "[1, {}]"),
    ({f"{OURS}value": '\n "x"', LABEL: "y"}, '"x"'),
    ({f"{OURS}value": "18446744073709551617"}, "18446744073709551617"),
    ({f"{OURS}value": "no JSON"}, '"no JSON"'),
    ({f"{OURS}value": "NaN"}, '"NaN"'),
]


def test_the_value_is_the_most_exact_that_is_told(tell):
    names = [f"case {number:02}" for number in range(len(OUTCOMES))]
    found = tell(*({NAME: name} | told for name, (told, _) in zip(names, OUTCOMES, strict=True)))
    by_name = {each.assessment_name: each for each in found}
    for name, (told, value) in zip(names, OUTCOMES, strict=True):
        assert (by_name[name].value, by_name[name].error) == (value, None), told
        assert by_name[name].rationale == told.get(WHY, "")


def test_a_label_beside_a_score_and_an_error_beside_a_value_are_kept_as_metadata(tell):
    [found] = tell({SCORE: 0.9, LABEL: "good", "error.type": "Late"})
    assert found.metadata == {LABEL: "good", "error.type": "Late"}


def test_an_event_without_value_and_with_an_error_is_an_error(tell):
    [found] = tell({"error.type": "ValueError", WHY: "it broke"})
    assert found.value is None
    assert found.error == assessments.AssessmentError("ValueError", "it broke")
    assert found.rationale == ""


def test_numbers_booleans_and_yes_and_no_have_a_number_as_in_mlflow(tell, store):
    values = ["5", "0.5", "true", "false", '"yes"', '"no"', '"Yes"', "[1]", "{}", "null", "1e999"]
    tell(*({NAME: chr(97 + n), f"{OURS}value": value} for n, value in enumerate(values)))
    tell({NAME: "z", "error.type": "x"})
    assert [tuple(row.values()) for row in columns(store)] == [
        ("5", "number", 5.0),
        ("0.5", "number", 0.5),
        ("true", "boolean", 1.0),
        ("false", "boolean", 0.0),
        ('"yes"', "string", 1.0),
        ('"no"', "string", 0.0),
        ('"Yes"', "string", None),
        ("[1]", "list", None),
        ("{}", "struct", None),
        ("null", "null", None),
        ('"1e999"', "string", None),
        ("", "", None),
    ]


# What else an event tells


def test_our_own_attributes_win(tell):
    [found] = tell(
        {
            NAME: "n" * 300,
            WHY: "why",
            "error.type": "Boom",
            f"{OURS}id": "mine",
            f"{OURS}type": "feedback",
            f"{OURS}source_type": "HUMAN",
            f"{OURS}source_id": "ann",
            f"{OURS}metadata": '{"a":"b","mlflow.trace.session":"s","n":1}',
            f"{OURS}error_message": "m",
            f"{OURS}stack_trace": "x" * 10 + "y" * 10_000,
            f"{OURS}overrides": "other",
        }
    )
    assert found.assessment_id == "mine"
    assert found.assessment_name == "n" * 250
    assert found.rationale == "why"
    assert found.error == assessments.AssessmentError("Boom", "m", "y" * 10_000)
    assert (found.source_type, found.source_id) == (SourceType.HUMAN, "ann")
    assert found.metadata == {"a": "b", "mlflow.trace.session": "s", "n": "1"}
    assert (found.session_id, found.overrides) == ("s", "other")


def test_an_expectation_is_told_by_our_attribute_alone(tell):
    found = tell({NAME: "a"}, {NAME: "b", f"{OURS}type": "expectation", f"{OURS}value": "1"})
    assert {each.assessment_name: each.assessment_type for each in found} == {
        "a": AssessmentType.FEEDBACK,
        "b": AssessmentType.EXPECTATION,
    }


# As pydantic-evals 2.62 emits them.
JUDGE = '{"name":"LLMJudge","arguments":{"rubric":"is kind"}}'
PYDANTIC = "gen_ai.evaluation."


def test_the_extra_names_of_pydantic_evals_are_read(tell):
    told = {
        f"{PYDANTIC}target": "answer",
        f"{PYDANTIC}evaluator.source": JUDGE,
        f"{PYDANTIC}evaluator.version": "v3",
        SCORE: 1.0,
        LABEL: "pass",
        "tenant": "from the baggage",
    }
    [found] = tell(told)
    assert (found.value, found.source_type, found.source_id) == (
        "true",
        SourceType.LLM_JUDGE,
        "LLMJudge",
    )
    assert found.metadata == {
        name: told[name]
        for name in (
            LABEL,
            f"{PYDANTIC}target",
            f"{PYDANTIC}evaluator.source",
            f"{PYDANTIC}evaluator.version",
        )
    }


SOURCES = [
    ({}, SourceType.UNSPECIFIED, "default"),
    ({f"{PYDANTIC}annotator_kind": "LLM"}, SourceType.LLM_JUDGE, "default"),
    ({f"{PYDANTIC}annotator_kind": "human"}, SourceType.HUMAN, "default"),
    ({f"{PYDANTIC}annotator_kind": "PARROT"}, SourceType.UNSPECIFIED, "default"),
    ({f"{PYDANTIC}evaluator.source": '{"name":"Length"}'}, SourceType.CODE, "Length"),
    ({f"{PYDANTIC}evaluator.source": "code"}, SourceType.CODE, "code"),
    ({f"{OURS}source_type": "AI_JUDGE"}, SourceType.LLM_JUDGE, "default"),
]


def test_the_source_is_what_the_event_tells(tell):
    found = tell(*({NAME: str(n)} | told for n, (told, _, _) in enumerate(SOURCES)))
    by_name = {each.assessment_name: (each.source_type, each.source_id) for each in found}
    assert [by_name[str(n)] for n in range(len(SOURCES))] == [tuple(each[1:]) for each in SOURCES]


def test_the_response_and_mlflows_keys_are_kept_as_metadata(tell):
    kept = {"gen_ai.response.id": "r", "mlflow.assessment.sourceRunId": "run"}
    [found] = tell(kept | {SCORE: 1, "else": "not"})
    assert found.metadata == kept


# What it is about


def test_a_log_event_is_about_its_span(tell, otlp):
    [found] = tell({SCORE: 1})
    assert (found.trace_id, found.span_id) == (otlp.trace_id(1).hex(), otlp.span_id(1).hex())
    assert (found.experiment, found.session_id, found.create_time_ns) == ("shop", "", otlp.T0 + 1)
    assert found.last_update_time_ns == found.create_time_ns
    assert found.valid


def test_without_time_the_observed_one_counts(tell, otlp):
    [found] = tell({SCORE: 1}, time_unix_nano=0, observed_time_unix_nano=otlp.T0 + 9)
    assert found.create_time_ns == otlp.T0 + 9


def test_an_event_of_no_trace_needs_a_session_and_spoils_nothing(tell):
    for trace_id in (b"", bytes(16), b"short", b"much too long to be an id"):
        for span_id in (b"", b"x", bytes(8), b"12345678", b"123456789"):
            about = {"trace_id": trace_id, "span_id": span_id}
            assert tell({SCORE: 1}, {NAME: "", "session.id": "s"}, **about) == []
    for names in ("session.id", "gen_ai.conversation.id", "mlflow.trace.session"):
        found = tell({SCORE: 1, names: "s"}, trace_id=b"", span_id=b"12345678")
        for each in found:
            assert (each.trace_id, each.span_id, each.session_id) == ("", "", "s")
            assert each.metadata == {"mlflow.trace.session": "s"}
    assert len(found) == 3


def test_an_event_of_a_trace_is_not_about_its_session(tell):
    [found] = tell({SCORE: 1, "session.id": "s"})
    assert (found.session_id, found.metadata) == ("", {})


def test_an_event_without_a_name_is_none(tell):
    assert tell({NAME: ""}) == []
    assert tell({NAME: None, SCORE: 1}) == []


def test_the_name_of_the_event_may_be_an_attribute_as_it_was_once(tell):
    [found] = tell({SCORE: 1, "event.name": EVENT}, event_name="")
    assert found.value == "1"


def test_other_log_records_are_none(store, writer, otlp):
    record = otlp.record(event_name="feature_flag.evaluation", attributes={NAME: "x", SCORE: 1})
    writer.write_logs(otlp.logs(record).SerializeToString())
    assert everything(store) == []


# Span events and OpenInference


def test_a_span_event_is_read_like_a_log_event(stamp, otlp):
    told = {NAME: "it", SCORE: 0.5, WHY: "why", f"{OURS}source_type": "HUMAN", "error.type": "x"}
    [found] = stamp({}, {}, events=[(EVENT, told), ("exception", {"exception.type": "E"})])
    assert (found.trace_id, found.span_id) == (otlp.trace_id(1).hex(), otlp.span_id(1).hex())
    assert (found.value, found.rationale, found.source_type) == ("0.5", "why", SourceType.HUMAN)
    assert found.metadata == {"error.type": "x"}
    assert found.create_time_ns == otlp.T0 + 1


def test_the_same_event_on_a_span_and_as_a_log_counts_once(stamp, tell):
    told = {NAME: "it", SCORE: 0.5, LABEL: "good", "else": True}
    [on_span] = stamp({}, events=[(EVENT, told)])
    [both] = tell({"else": True, LABEL: "good", SCORE: 0.5})
    assert both == on_span


FIELDS = {
    "name": "it",
    "score": 0.5,
    "label": "good",
    "explanation": "why",
    "annotator_kind": "LLM",
    "identifier": "judge-v2",
    "metadata": '{"rubric":"2"}',
}


PREFIXES = ["evaluation.", "annotation.", "evaluations.0.evaluation.", "annotations.11.annotation."]


def test_openinferences_feedback_is_read_off_spans_and_events(store, stamp, otlp):
    for trace, prefix in enumerate(PREFIXES, 1):
        told = {prefix + name: value for name, value in FIELDS.items()}
        stamp(told | {"else": 1}, events=[("evaluation", told)], trace=trace)
    found = everything(store)
    assert sorted(each.trace_id for each in found) == sorted(
        otlp.trace_id(trace).hex() for trace in range(1, 5) for _ in "12"
    )
    for each in found:
        assert (each.assessment_name, each.value, each.rationale) == ("it", "0.5", "why")
        assert each.source_type == SourceType.LLM_JUDGE
        assert each.span_id == otlp.span_id(1).hex()
        assert each.metadata == {
            LABEL: "good",
            "gen_ai.evaluation.identifier": "judge-v2",
            "rubric": "2",
        }


def test_every_item_of_a_list_is_one_and_both_terms_of_the_same_are_one(stamp):
    found = stamp(
        {
            "evaluations.0.evaluation.name": "a",
            "evaluations.0.evaluation.score": 1,
            "evaluations.1.evaluation.name": "b",
            "evaluations.1.evaluation.label": "x",
            "annotations.0.annotation.name": "b",
            "annotations.0.annotation.label": "x",
        }
    )
    assert sorted((each.assessment_name, each.value) for each in found) == [
        ("a", "1"),
        ("b", '"x"'),
    ]


def test_openinferences_feedback_of_a_trace_and_of_a_session(stamp, otlp):
    found = stamp(
        {
            "session.id": "s",
            "trace.evaluations.0.evaluation.name": "trace",
            "trace.evaluations.0.evaluation.score": 1,
            "session.annotations.0.annotation.name": "session",
            "session.annotations.0.annotation.score": 2,
        }
    )
    about = {each.assessment_name: (each.trace_id, each.span_id, each.session_id) for each in found}
    trace_id = otlp.trace_id(1).hex()
    assert about == {"trace": (trace_id, "", ""), "session": (trace_id, "", "s")}


JUDGED = {"evaluation.name": "it", "evaluation.score": 1}
EVALUATOR = {"openinference.span.kind": "EVALUATOR"}


CARRIERS = [
    (EVALUATOR | JUDGED, [(70, 8)], (70, 8)),
    (EVALUATOR | JUDGED, [], (2, 1)),
    (EVALUATOR | JUDGED, [(70, 8), (90, 8)], (3, 1)),
    (JUDGED, [(70, 8)], (4, 1)),
]


def test_an_evaluator_with_one_link_tells_of_the_span_it_links_to(store, stamp, otlp):
    for trace, (attributes, links, _) in enumerate(CARRIERS, 1):
        stamp(attributes, links=links, trace=trace)
    assert {(each.trace_id, each.span_id) for each in everything(store)} == {
        (otlp.trace_id(trace).hex(), otlp.span_id(span).hex()) for _, _, (trace, span) in CARRIERS
    }


# Repetition


def test_a_repeated_event_counts_once_within_and_across_batches(tell, stamp, store):
    told = [{NAME: "a", SCORE: 1}, {NAME: "b", SCORE: 1}]
    for _ in range(3):
        assert len(tell(*told, *told)) == 2
    stamp(JUDGED)
    assert len(stamp(JUDGED)) == 3
    store.command("OPTIMIZE TABLE assessments FINAL")
    assert store.select("SELECT count() AS n FROM assessments") == [{"n": 3}]


def test_events_that_differ_in_anything_are_two(tell):
    tell({SCORE: 1})
    tell({SCORE: 1}, at=2)
    tell({SCORE: 1}, span=2)
    assert len(tell({SCORE: 1, "else": 1})) == 4


def test_of_two_events_with_one_id_the_earlier_counts(tell):
    for at, score in ((2, 2), (1, 1), (3, 3)):
        found = tell({f"{OURS}id": "mine", SCORE: score, "mlflow.at": at}, at=at)
    [found] = found
    assert (found.value, found.metadata) == ("1", {"mlflow.at": "1"})


def test_absurd_times_spoil_nothing(stamp):
    [found] = stamp(JUDGED, duration=-5)
    assert found.value == "1"
    assert len(stamp(JUDGED, trace=2, start=(1 << 63) - 1, duration=0)) == 2


def test_a_store_with_numbers_for_changes_has_uuids_after_any_interruption(store):
    """Changes of one moment stay in the order of their numbers."""
    texts = [sql.text("migrations", name) for name in sql.names("migrations")]
    [before] = [text for text in texts if "change_id UInt64" in text]
    [after] = [text for text in texts if "assessments_anew" in text]
    [view] = [text for text in texts if "intDiv(c.change_id, 4)" in text and "UNION" in text]
    steps = store.topology.render(after)
    numbers = [3, 1 << 63, (1 << 64) - 5, 1 << 40]
    kept = [("create", id_, 0, f'"{id_}"') for id_ in "abc"]
    kept += [("update", "a", each, str(each % 1000)) for each in numbers]
    kept += [("update", "b", each, str(each % 1000)) for each in sorted(numbers)]
    same = (b"t" * 16, datetime(2026, 9, 21, tzinfo=timezone.utc), "feedback", "CODE")
    names = ("trace_id", "change_time", "assessment_type", "source_type")
    names += ("operation", "assessment_id", "change_id", "value")
    for taken in range(len(steps)):
        store.command("DROP TABLE assessments SYNC")
        for statement in store.topology.render(before) + store.topology.render(view):
            store.command(statement)
        store.insert("assessments", [[*same, *each] for each in kept], names)
        said = "SELECT * FROM current_assessments ORDER BY assessment_id"
        expected = store.select(said)
        assert [row["value"] for row in expected] == ["611", "611", '"c"']
        for statement in (*steps[:taken], *steps):
            store.command(statement)
        assert store.select(said) == expected
        found = [assessments.get(store, row["assessment_id"]) for row in expected]
        assert [each.value for each in found] == ["611", "611", '"c"']
        ids = store.select("SELECT DISTINCT change_id FROM assessments ORDER BY change_id")
        assert [row["change_id"].int for row in ids] == [0, *sorted(numbers)]
