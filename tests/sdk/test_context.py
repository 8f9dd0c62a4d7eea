"""What travels to other processes in baggage: nothing, but for names that were allowed to."""

from opentelemetry import context as otel_context
from opentelemetry.baggage import set_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator

import otel_vtrack
from otel_vtrack import tag
from otel_vtrack.sdk import context

propagator = W3CBaggagePropagator()


def sent():
    """Return the header an instrumented client would send now."""
    carrier = {}
    propagator.inject(carrier)
    return carrier.get("baggage", "")


def received(header):
    return propagator.extract({"baggage": header}, otel_context.Context())


def test_nothing_travels_by_default(record):
    otel_vtrack.install(record().provider)
    with tag(session="s", user="u", version="2", flags={"f": "on"}, tier="gold"):
        assert sent() == ""


def test_only_allowed_names_travel(record, monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_BAGGAGE_KEYS", "session.id, vtrack.flag.f,")
    otel_vtrack.install(record().provider)
    with tag(session="s 1", user="u", flags={"f": True, "g": True}):
        assert set(sent().split(",")) == {"session.id=s+1", "vtrack.flag.f=True"}
    assert sent() == ""


def test_a_user_travels_only_when_named_exactly(record, monkeypatch):
    for almost in ("*", "user", "user.*", "USER.ID", "id"):
        monkeypatch.setenv("OTEL_VTRACK_BAGGAGE_KEYS", almost)
        otel_vtrack.sdk.context.use.replace_baggage_keys(None)
        with tag(user="u", session="s"):
            assert sent() == ""
    otel_vtrack.install(record().provider, baggage_keys=["user.id"])
    with tag(user="u", session="s"):
        assert sent() == "user.id=u"


def test_one_name_may_be_given_as_it_is(record):
    otel_vtrack.install(record().provider, baggage_keys="session.id")
    with tag(user="u", session="s", s="letter"):
        assert sent() == "session.id=s"


def test_the_inner_block_is_what_travels(record):
    otel_vtrack.install(record().provider, baggage_keys=["session.id"])
    with tag(session="outer"):
        with tag(session="inner"):
            assert sent() == "session.id=inner"
        assert sent() == "session.id=outer"


def test_what_is_too_long_for_baggage_stays_here_and_nothing_else_goes_in_its_place(record):
    recording = record()
    otel_vtrack.install(recording.provider, baggage_keys=["session.id", "user.id"])
    longest = "x" * (4_096 - len("session.id%3D"))
    with tag(session=longest, user="u"):
        assert set(sent().split(",")) == {f"session.id={longest}", "user.id=u"}
        for longer in (longest + "x", "ä" * 700):
            with tag(session=longer):
                assert sent() == "user.id=u"
                assert recording.attributes()["session.id"] == longer


def test_other_baggage_is_left_in_place(record):
    otel_vtrack.install(record().provider, baggage_keys=["session.id"])
    token = otel_context.attach(received("theirs=1"))
    with tag(session="s"):
        assert set(sent().split(",")) == {"theirs=1", "session.id=s"}
    otel_context.detach(token)


def test_received_baggage_becomes_tags_when_allowed(record):
    recording = record()
    otel_vtrack.install(recording.provider, baggage_keys=["session.id", "tier"], tier="process")
    incoming = received("session.id=s%201,user.id=u,tier=gold")
    assert recording.attributes(context=incoming) == {"session.id": "s 1", "tier": "gold"}
    assert recording.attributes() == {"tier": "process"}


def test_spans_of_a_request_share_what_they_make_of_its_baggage(record, monkeypatch):
    made = []
    clean_all = context.clean_all
    monkeypatch.setattr(context, "clean_all", lambda given: made.append(given) or clean_all(given))
    recording = record()
    otel_vtrack.install(recording.provider, baggage_keys=["session.id", "tier"], version="1")
    made.clear()
    incoming = received("session.id=shared,other=1")
    for _ in range(3):
        assert recording.attributes(context=incoming)["session.id"] == "shared"
        assert recording.attributes() == {"service.version": "1"}
    assert made == [{"session.id": "shared", "tier": None}]


def test_a_value_in_baggage_may_be_any_object(record):
    recording = record()
    otel_vtrack.install(recording.provider, baggage_keys=["tier"])
    for value, tag_value in ((1, 1), (True, True), (1.0, 1.0), (["a"], ("a",)), ({}, "{}")):
        found = recording.attributes(context=set_baggage("tier", value, otel_context.Context()))
        assert found == {"tier": tag_value}
        assert type(found["tier"]) is type(tag_value)


def test_received_baggage_is_ignored_by_default(record):
    recording = record()
    otel_vtrack.install(recording.provider)
    assert recording.attributes(context=received("session.id=s,user.id=u")) == {}


def test_a_tag_of_this_process_wins_over_a_received_one(record):
    recording = record()
    otel_vtrack.install(recording.provider, baggage_keys=["session.id", "tier"])
    token = otel_context.attach(received("session.id=received,tier=gold"))
    with tag(session="here"):
        assert recording.attributes() == {"session.id": "here", "tier": "gold"}
        assert "session.id=here" in sent()
    otel_context.detach(token)
