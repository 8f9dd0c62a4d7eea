"""What people and programs say of traces is kept by the rules of assessments.proto."""

import pytest

from otel_vtrack.errors import AlreadyExists, InvalidArgument, NotFound
from otel_vtrack.query import assessments as query
from otel_vtrack.query import traces
from otel_vtrack.query.assessments import (
    AssessmentError,
    AssessmentType,
    Operation,
    SourceType,
)
from otel_vtrack.record import assessments as record

SESSION = "mlflow.trace.session"
START_S = 1_790_000_000 // 60 * 60


@pytest.fixture
def create(store, send, trace_id):
    """Create assessments of trace 1, which is there."""
    send({})

    def make(**fields):
        given = {"trace_id": trace_id(), "assessment_name": "it", "value": "1"} | fields
        return record.create(store, record.NewAssessment(**given))

    return make


def event(name="it", **others):
    """Make an evaluation event as `send_logs` wants it; keywords with `__` are our attributes."""
    attributes = {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": 1}
    ours = {f"vtrack.assessment.{key[2:]}": others.pop(key) for key in list(others) if "__" in key}
    given = {"event_name": "gen_ai.evaluation.result", "attributes": attributes | ours}
    given["attributes"] |= others.pop("attributes", {})
    return given | others


def test_what_is_left_out_has_mlflows_defaults(create, store, trace_id):
    made = create()
    assert made == query.get(store, made.assessment_id)
    assert made.assessment_id.startswith("a-")
    assert len(made.assessment_id) == 34
    assert (made.trace_id, made.span_id, made.experiment) == (trace_id(), "", "shop")
    assert made.assessment_type is AssessmentType.FEEDBACK
    assert (made.source_type, made.source_id) == (SourceType.CODE, "default")
    assert (made.rationale, made.metadata, made.overrides, made.session_id) == ("", {}, "", "")
    assert made.valid
    assert made.create_time_ns == made.last_update_time_ns


def test_every_field_is_kept(create, trace_id):
    made = create(
        trace_id=f"tr-{trace_id().upper()}",
        assessment_name="n" * 250,
        assessment_type=AssessmentType.EXPECTATION,
        value='{"a":[1,"ß"]}',
        rationale="why 🦜",
        metadata={"mlflow.assessment.sourceRunId": "r"},
        source_type=SourceType.LLM_JUDGE,
        source_id="model",
        span_id="ABCDEF0123456789",
        assessment_id="a mine"[2:],
        experiment="shop",
    )
    assert (made.trace_id, made.span_id) == (trace_id(), "abcdef0123456789")
    assert (made.assessment_name, made.value, made.rationale) == (
        "n" * 250,
        '{"a":[1,"ß"]}',
        "why 🦜",
    )
    assert made.assessment_type is AssessmentType.EXPECTATION
    assert made.metadata == {"mlflow.assessment.sourceRunId": "r"}
    assert (made.source_type, made.source_id) == (SourceType.LLM_JUDGE, "model")
    assert made.assessment_id == "mine"


ERROR = AssessmentError("Late", "too late", "where")
LONG = "ß" * (record.LARGEST_TEXT // 2) + "x"
REFUSED = [
    ({"trace_id": "12"}, InvalidArgument, "32 hexadecimal digits"),
    ({"trace_id": "f" * 32}, NotFound, "trace"),
    ({"span_id": "0" * 16}, InvalidArgument, "16 hexadecimal digits"),
    ({"span_id": "xyz"}, InvalidArgument, "16 hexadecimal digits"),
    ({"assessment_name": ""}, InvalidArgument, "from 1 to 250"),
    ({"assessment_name": "n" * 251}, InvalidArgument, "from 1 to 250"),
    ({"value": None}, InvalidArgument, "a value or an error"),
    ({"error": ERROR}, InvalidArgument, "give one of them"),
    ({"value": LONG}, InvalidArgument, "value has 65537 bytes"),
    ({"rationale": LONG}, InvalidArgument, "rationale has 65537 bytes"),
    ({"metadata": {"": "x"}}, InvalidArgument, "a key of metadata"),
    ({"metadata": {"k" * 251: "x"}}, InvalidArgument, "a key of metadata"),
    ({"metadata": {"k": LONG}}, InvalidArgument, "metadata has 65538 bytes"),
    ({"source_id": "s" * 251}, InvalidArgument, "source_id"),
    ({"assessment_id": "a b"}, InvalidArgument, "without spaces"),
    ({"assessment_id": "a" * 251}, InvalidArgument, "up to 250"),
    ({"session_id": "s", "metadata": {SESSION: "t"}}, InvalidArgument, "differ"),
    ({"experiment": "bank"}, InvalidArgument, "not in this experiment"),
    ({"session_id": "s" * 251}, InvalidArgument, "session_id is longer than 250"),
    ({"overrides": "a" * 251}, InvalidArgument, "overrides is longer than 250"),
    ({"overrides": "nobody"}, NotFound, "no assessment nobody"),
    ({"value": None, "error": AssessmentError("")}, InvalidArgument, "error_code"),
    ({"value": None, "error": AssessmentError("E" * 251)}, InvalidArgument, "error_code"),
    ({"value": None, "error": AssessmentError("E", LONG)}, InvalidArgument, "error_message"),
    (
        {"value": None, "error": ERROR, "assessment_type": AssessmentType.EXPECTATION},
        InvalidArgument,
        "only feedback",
    ),
]


def test_what_makes_no_sense_is_refused_with_what_to_do(create, store):
    for fields, kind, says in REFUSED:
        with pytest.raises(kind, match=says):
            create(**fields)
    assert query.search(store).assessments == []


def test_the_end_of_a_long_stack_trace_is_kept(create):
    made = create(value=None, error=AssessmentError("E", "m", "a" * 5 + "b" * 10_000))
    assert made.error == AssessmentError("E", "m", "b" * 10_000)


def test_an_id_is_taken_once_and_stays_taken(create, store, send, send_logs, trace_id):
    create(assessment_id="mine")
    send({"trace": 2})
    with pytest.raises(AlreadyExists, match="mine"):
        create(assessment_id="mine", trace_id=trace_id(2))
    record.delete(store, "mine")
    with pytest.raises(AlreadyExists, match="mine"):
        create(assessment_id="mine")
    send_logs(event(trace=1, __id="told"))
    with pytest.raises(AlreadyExists):
        create(assessment_id="told")


def test_a_trace_of_two_experiments_is_assessed_in_that_of_its_root_unless_told(
    create, send, trace_id
):
    send({"trace": 5, "span": 2, "parent": 1, "at": -1}, service__name="bank")
    send({"trace": 5, "span": 1}, service__name="front")
    assert create(trace_id=trace_id(5)).experiment == "front"
    assert create(trace_id=trace_id(5), experiment="bank").experiment == "bank"


# Override


def test_an_override_makes_the_earlier_invalid_until_it_is_deleted(create, store, trace_id):
    first = create()
    second = create(overrides=first.assessment_id)
    third = create(overrides=first.assessment_id)
    on_second = create(overrides=second.assessment_id)
    assert (second.valid, third.valid, on_second.valid) == (True, True, True)

    def valid():
        [found] = query.of_traces(store, [(trace_id(), "")])
        searched = query.search(store, "valid = true").assessments
        assert {each.assessment_id for each in found if each.valid} == {
            each.assessment_id for each in searched
        }
        made = [first, second, third, on_second]
        known = {each.assessment_id: each.valid for each in found}
        return [known.get(each.assessment_id) for each in made]

    assert valid() == [False, False, True, True]
    record.delete(store, second.assessment_id)
    assert valid() == [False, None, True, True]
    record.delete(store, third.assessment_id)
    assert valid() == [True, None, None, True]


def test_only_what_is_there_in_the_same_trace_is_overridden(
    create, store, send, send_logs, trace_id
):
    first = create()
    send({"trace": 2})
    with pytest.raises(NotFound):
        create(trace_id=trace_id(2), overrides=first.assessment_id)
    # An event cannot be refused; it overrides nothing then.
    send_logs(event(trace=2, __overrides=first.assessment_id))
    assert query.get(store, first.assessment_id).valid
    assert len(query.search(store, "valid = true").assessments) == 2
    send_logs(event(trace=1, __overrides=first.assessment_id))
    assert not query.get(store, first.assessment_id).valid
    record.delete(store, first.assessment_id)
    with pytest.raises(NotFound):
        create(overrides=first.assessment_id)


def test_an_event_that_overrides_itself_is_valid(store, send_logs):
    send_logs(event(trace=1, __id="x", __overrides="x"))
    assert query.get(store, "x").valid
    assert query.search(store).assessments[0].valid


# Change and deletion


def test_an_update_changes_what_it_names_and_merges_metadata(create, store):
    made = create(metadata={"a": "1", "b": "1"}, rationale="why", source_id="me")
    now = record.update(store, made.assessment_id, metadata={"b": "2", "c": "2"})
    assert now.metadata == {"a": "1", "b": "2", "c": "2"}
    assert now.last_update_time_ns > made.last_update_time_ns
    assert (now.value, now.rationale, now.create_time_ns) == ("1", "why", made.create_time_ns)
    now = record.update(store, made.assessment_id, error=ERROR, rationale="", assessment_name="x")
    assert (now.value, now.error, now.rationale, now.assessment_name) == (None, ERROR, "", "x")
    now = record.update(store, made.assessment_id, value="null")
    assert (now.value, now.error, now.source_id) == ("null", None, "me")


def test_an_update_that_makes_no_sense_is_refused(create, store):
    made = create(assessment_type=AssessmentType.EXPECTATION, session_id="s")
    for fields, says in [
        ({}, "nothing to change"),
        ({"assessment_name": ""}, "from 1 to 250"),
        ({"value": "1", "error": ERROR}, "give one of them"),
        ({"error": ERROR}, "only feedback"),
        ({"value": LONG}, "value has"),
        ({"rationale": LONG}, "rationale has"),
        ({"metadata": {SESSION: "t"}}, "session cannot be changed"),
    ]:
        with pytest.raises(InvalidArgument, match=says):
            record.update(store, made.assessment_id, **fields)
    with pytest.raises(NotFound, match="nobody"):
        record.update(store, "nobody", value="1")
    assert record.update(store, made.assessment_id, metadata={SESSION: "s"}).session_id == "s"


def test_deletion_is_idempotent_and_stays_whatever_the_event_does(create, store, send_logs):
    for _ in range(2):
        send_logs(event(trace=1, __id="told", at=10**12))
        record.delete(store, "told")
        record.delete(store, "told")
        with pytest.raises(NotFound):
            query.get(store, "told")
    record.delete(store, "nobody")
    assert query.search(store).assessments == []
    assert [each.operation for each in query.history(store, "told")] == [
        Operation.CREATE,
        Operation.DELETE,
    ]


def test_history_says_what_there_was_after_each_change(create, store):
    first = create(metadata={"a": "1"})
    second = create(overrides=first.assessment_id)
    record.update(store, first.assessment_id, value='"x"', metadata={"b": "2"})
    record.delete(store, second.assessment_id)
    record.update(store, first.assessment_id, rationale="why")
    record.delete(store, first.assessment_id)
    told = query.history(store, first.assessment_id)
    assert [
        (each.operation, each.assessment.value, each.assessment.rationale, each.assessment.valid)
        for each in told
    ] == [
        (Operation.CREATE, "1", "", True),
        (Operation.UPDATE, '"x"', "", False),
        (Operation.UPDATE, '"x"', "why", True),
        (Operation.DELETE, '"x"', "why", True),
    ]
    assert told[0].assessment == first
    assert [each.assessment.metadata for each in told[:2]] == [{"a": "1"}, {"a": "1", "b": "2"}]
    assert [each.change_time_ns for each in told] == sorted(each.change_time_ns for each in told)
    assert query.history(store, "nobody") == []


def test_an_update_counts_over_an_event_whose_clock_is_ahead(create, store, send_logs):
    send_logs(event(trace=1, __id="told", at=10**12))
    now = record.update(store, "told", value="2", metadata={"a": "b"})
    assert (now.value, now.metadata) == ("2", {"a": "b"})
    assert now.last_update_time_ns == now.create_time_ns
    assert query.search(store).assessments == [now]


# Sessions


def test_an_assessment_of_a_session_is_found_with_each_of_its_traces(
    create, store, send, send_logs, trace_id
):
    for trace in (2, 3, 4):
        send({"trace": trace, "attributes": {"session.id": "s" if trace < 4 else "t"}})
    own = create(trace_id=trace_id(2), assessment_name="own")
    of_session = create(trace_id=trace_id(2), session_id="s", assessment_name="api")
    assert (of_session.session_id, of_session.metadata) == ("s", {SESSION: "s"})
    by_metadata = create(trace_id=trace_id(3), metadata={SESSION: "s"}, assessment_name="metadata")
    assert by_metadata.session_id == "s"
    send_logs(event("event", attributes={"session.id": "s"}))
    asked = [(trace_id(2), "s"), (trace_id(3), "s"), (trace_id(4), "t"), (trace_id(1), "")]
    names = [{each.assessment_name for each in found} for found in query.of_traces(store, asked)]
    assert names == [
        {"own", "api", "metadata", "event"},
        {"api", "metadata", "event"},
        set(),
        set(),
    ]
    assert query.of_traces(store, [(trace_id(2), "")])[0] == [own, of_session]
    assert len(query.search(store, "session = 's'").assessments) == 3


@pytest.mark.parametrize("minute", [None, START_S - 60, START_S])
def test_a_trace_is_loaded_with_the_assessments_of_its_session(create, store, send, minute):
    send(
        {"trace": 2, "attributes": {"session.id": "s"}},
        # The root's session is the trace's.
        {"trace": 3, "attributes": {"session.id": "s"}},
        {"trace": 3, "parent": 1, "attributes": {"session.id": "t"}},
    )
    create(trace_id=f"{2:032x}", assessment_name="own")
    create(trace_id=f"{2:032x}", session_id="s", assessment_name="session")
    create(trace_id=f"{3:032x}", session_id="t", assessment_name="other")
    for number, names in ((1, []), (2, ["own", "session"]), (3, ["session", "other"])):
        [info] = traces.get(store, f"{number:032x}", minute_of=lambda _: minute).infos
        assert [each.assessment_name for each in info.assessments] == names


def test_what_overrides_an_assessment_of_a_session_is_about_that_session(
    create, store, send, trace_id
):
    send({"trace": 2})
    first = create(session_id="s")
    with pytest.raises(InvalidArgument, match="same session"):
        create(overrides=first.assessment_id, session_id="t")
    with pytest.raises(InvalidArgument, match="same session"):
        create(overrides=create().assessment_id, session_id="t")
    second = create(overrides=first.assessment_id)
    assert second.session_id == "s"
    # Seen from another trace of the session too.
    [found] = query.of_traces(store, [(trace_id(2), "s")])
    assert {each.assessment_id: each.valid for each in found} == {
        first.assessment_id: False,
        second.assessment_id: True,
    }


# Search


def test_pages_neither_repeat_nor_skip_while_more_arrives(create, store, send_logs):
    for number in range(5):
        create(assessment_name=str(number))
    first = query.search(store, page_size=2)
    create(assessment_name="late")
    second = query.search(store, page_size=2, page_token=first.next_page_token)
    third = query.search(store, page_size=2, page_token=second.next_page_token)
    names = [[each.assessment_name for each in page.assessments] for page in (first, second, third)]
    assert names == [["4", "3"], ["2", "1"], ["0"]]
    assert third.next_page_token == ""
    for wrong in ({"filter_": "value = 1"}, {"order_by": ["name"]}):
        with pytest.raises(InvalidArgument, match="page_token"):
            query.search(store, page_size=2, page_token=first.next_page_token, **wrong)
    ascending = query.search(store, order_by=["name ASC"], page_size=4)
    rest = query.search(
        store, order_by=["name ASC"], page_size=4, page_token=ascending.next_page_token
    )
    assert [each.assessment_name for each in [*ascending.assessments, *rest.assessments]] == [
        *"01234",
        "late",
    ]


def test_no_traces_have_no_assessments(store):
    assert query.of_traces(store, []) == []
    assert query.of_traces(store, [("1" * 32, "")]) == [[]]
