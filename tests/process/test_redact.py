"""What is hidden, where, and that nothing else changes."""

import fnmatch
import hmac
import sys
import time

import pydantic
import pytest
from google.protobuf.descriptor import FieldDescriptor as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_vtrack.errors import SettingsError
from otel_vtrack.process.detectors import DETECTORS
from otel_vtrack.process.keys import Keys
from otel_vtrack.process.redact import Redactor
from otel_vtrack.process.redaction import Redact
from otel_vtrack.wire import framing
from otel_vtrack.wire.signals import LOGS, TRACES

KEY = "0123456789abcdef"
URL = "postgres://me:hunter2@db.example/shop"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
# Put together here, so that nobody who looks for such keys takes these for some.
GITHUB = "ghp_" + "a1B2c3D4e5" * 4
PEM = "-----BEGIN RSA PRIVATE " + "KEY-----"
OPENAI = "sk-" + "proj-" + "a1B2c3D4e5" * 4


def redactor(**given) -> Redactor:
    return Redactor(Redact(**given))


def span_with(text, **fields) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="step", **fields)
    span.attributes.add(key="said").value.string_value = text
    return request


def hide(text, **given):
    """What becomes of a text in an attribute of a span; None if the attribute goes."""
    payload = span_with(text).SerializeToString()
    new, _ = redactor(**given)(TRACES, payload)
    attributes = ExportTraceServiceRequest.FromString(new).resource_spans[0].scope_spans[0].spans
    return attributes[0].attributes[0].value.string_value if attributes[0].attributes else None


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("https://user:hunter2@host/x?y=z", "https://***@host/x?y=z"),
        (
            "see postgres://u:p@ss@db and redis://:pw@r:1.",
            "see postgres://***@db and redis://***@r:1.",
        ),
        ("https://ghp_token@github.com/a/b.git", "https://***@github.com/a/b.git"),
        (r'{"url":"https:\/\/u:p@h\/x"}', r'{"url":"https:\/\/***@h\/x"}'),
        ("https://ü:ß@höst", "https://***@höst"),
        ("://@u:p@h", "://***@h"),
        ("ssh://git@github.com/a/b.git", None),
        ("https://host/path?mail=a@b.example", None),
        ("https://host and a@b:c", None),
        ("https://***@host", None),
        ("mail a@b.example or http://h", None),
    ],
)
def test_credentials_in_urls_are_hidden_by_default(text, hidden):
    assert hide(text) == (hidden or text)
    assert hide(text, url_credentials=False) == text


SECRETS = [
    ("authorization", "Authorization: Bearer abcdef0123456789==", "Authorization: Bearer ***"),
    ("authorization", "basic dXNlcjpwYXNzd29yZA==;", "basic ***;"),
    ("jwt", f"token={JWT}, done", "token=***, done"),
    ("private_key", f"{PEM}\nMIIE\n-----END RSA PRIVATE KEY----- x", "*** x"),
    ("private_key", rf"a {PEM}\nMIIEcut off", "a ***"),
    ("aws", "id AKIA" + "IOSFODNN7EXAMPLE.", "id ***."),
    ("aws", '{"aws_secret_access_key": "' + "a1B2/+c3" * 5, '{"aws_secret_access_key": "***'),
    ("github", f"git clone with {GITHUB}", "git clone with ***"),
    ("github", "github_pat_" + "a1" * 20, "***"),
    ("gitlab", "glpat-" + "a1b2" * 5, "***"),
    ("slack", "xoxb-" + "123456789012-abc", "***"),
    ("slack", "hooks.slack.com/services/T0/" + "B0/" + "a" * 20, "hooks.slack.com/services/***"),
    ("openai", rf'[{{"text":"hi\n{OPENAI} and %20{OPENAI}"}}]', r'[{"text":"hi\n*** and %20***"}]'),
    ("stripe", "key: sk_live_" + "a1B2" * 5, "key: ***"),
    ("google", "AIza" + "a1B2c" * 7, "***"),
    ("huggingface", "hf_" + "a1B2c" * 7, "***"),
    ("npm", "//registry/:_authToken=npm_" + "a1B2" * 9, "//registry/:_authToken=***"),
    ("pypi", "pypi-AgE" + "a1B2c" * 12, "***"),
    ("sendgrid", "SG." + "a1B2" * 5 + "." + "a1B2" * 10, "***"),
    ("email", r'"to\nbob.o-x+y@mail.example.org"', r'"to\n***"'),
    ("email", "a@b.example, jürgen@müller.example; q=c%40d.example", "***, ***; q=***"),
    ("card", "4111 1111 1111 1111 4111-1111-1111-1111;378282246310005", "*** ***;***"),
    ("card", "3782 822463 10005", "***"),
]  # fmt: skip
HARMLESS = [
    ("authorization", "Basic understanding, bearer authentication"),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9 is a header"),
    ("private_key", "-----BEGIN CERTIFICATE-----"),
    ("aws", "xAKIA" + "IOSFODNN7EXAMPLE"),
    ("openai", "disk-usage-is-measured-every-minute"),
    ("email", "me@localhost, @decorated, a @ b.example"),
    ("card", "4111111111111112 1760000000000000000 4111 1111 1111 1112"),
    ("card", "41111111111111111111111111"),
]


def test_every_detector_has_a_secret_to_show_for_it():
    assert {name for name, *_ in SECRETS} == set(DETECTORS)


@pytest.mark.parametrize(("detector", "text", "hidden"), SECRETS)
def test_detectors_find_secrets(detector, text, hidden):
    assert hide(text, detectors=[detector]) == hidden
    assert hide(text) == text
    rule = {"name": "r", "detectors": [detector], "action": "drop"}
    assert hide(text, rules=[rule]) is None


@pytest.mark.parametrize(("detector", "text"), HARMLESS)
def test_detectors_leave_what_is_no_secret(detector, text):
    assert hide(text, detectors=[detector]) == text


def test_what_is_found_is_masked_hashed_or_dropped_and_counted():
    def rule(action, **more):
        return {"hash_key": KEY, "rules": [{"name": "t", "action": action, **more}]}

    digest = hmac.digest(KEY.encode(), b"TCK-12", "sha256").hex()[:32]
    assert hide("for TCK-12, TCK-3", **rule("mask", pattern=r"TCK-\d+")) == "for ***, ***"
    assert hide("for TCK-12.", **rule("hash", pattern=r"TCK-\d+")) == f"for {digest}."
    assert hide("for TCK-12", **rule("drop", pattern=r"TCK-\d+")) is None
    # A group is what is hidden; anchors are those of the text.
    assert hide("pin 1234", **rule("mask", pattern=r"pin (\d+)|code (\d+)")) == "pin ***"
    assert hide("code 1234", **rule("mask", pattern=r"pin (\d+)|code (\d+)")) == "code ***"
    assert hide("TCK-1", **rule("mask", pattern=r"^TCK-\d$")) == "***"
    assert hide("a TCK-1", **rule("mask", pattern=r"^TCK-\d$")) == "a TCK-1"
    # With keys, in their values only; without anything else, all of the value.
    assert hide("TCK-1", **rule("mask", pattern=r"TCK-\d", keys=["other"])) == "TCK-1"
    assert hide("a TCK-1", **rule("mask", pattern=r"TCK-\d", keys=["s?id"])) == "a ***"
    assert hide("anything", **rule("mask", keys=["said"])) == "***"
    assert hide("TCK-12", **rule("hash", keys=["[rs]aid"])) == digest
    assert hide("anything", **rule("drop", keys=["sa*"])) is None
    assert hide("anything", **rule("drop", keys=["SAID", "*ai"])) == "anything"
    # A password in a URL is no address's name.
    assert hide("http://me:pw@mail.example", detectors=["email"]) == "http://***@mail.example"
    redact = redactor(detectors=["email"], rules=[{"name": "t", "pattern": r"TCK-\d"}])
    payload = span_with("TCK-1 TCK-2 a@b.example").SerializeToString()
    _, counts = redact(TRACES, payload)
    assert counts == {"t": 2, "email": 1}


def test_a_rule_within_names_leaves_other_names_of_the_same_request_alone():
    request = span_with("TCK-1")
    note = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="note")
    note.value.string_value = "TCK-1"
    rule = {"name": "t", "keys": ["note"], "pattern": r"TCK-\d"}
    new, counts = redactor(rules=[rule])(TRACES, request.SerializeToString())
    note.value.string_value = "***"
    assert ExportTraceServiceRequest.FromString(new) == request
    assert counts == {"t": 1}


def fill(value, made):
    """Make a value of each kind, nested in each other."""
    if isinstance(made, dict):
        for key, inner in made.items():
            fill(value.kvlist_value.values.add(key=key).value, inner)
    elif isinstance(made, list):
        for inner in made:
            fill(value.array_value.values.add(), inner)
    else:
        kinds = {str: "string", bytes: "bytes", bool: "bool", int: "int", float: "double"}
        setattr(value, f"{kinds[type(made)]}_value", made)
    return value


def test_names_count_at_any_depth_and_for_values_of_any_type():
    def record(made):
        request = ExportLogsServiceRequest()
        found = request.resource_logs.add().scope_logs.add().log_records.add()
        fill(found.body, {"user": {"id": made, "x": 1}, "kept": [True]})
        return request

    def hashes(made):
        if isinstance(made, list):
            return [hashes(each) for each in made]
        return hmac.digest(KEY.encode(), made.encode(), "sha256").hex()[:32]

    by_action = {
        action: redactor(
            hash_key=KEY, rules=[{"name": "ids", "keys": ["id", "*.id"], "action": action}]
        )
        for action in ("mask", "hash", "drop")
    }
    for made, written in [
        (7, "7"), ("7", "7"), (b"7", "7"), (True, "true"), (0.5, "0.5"), ([1, ["a"]], ["1", ["a"]])
    ]:  # fmt: skip
        payload = record(made).SerializeToString()
        for action, expected in (("mask", "***"), ("hash", hashes(written))):
            new, counts = by_action[action](LOGS, payload)
            assert ExportLogsServiceRequest.FromString(new) == record(expected)
            scalars = 2 if action == "hash" and isinstance(made, list) else 1
            assert counts == {"ids": scalars}
        new, _ = by_action["drop"](LOGS, payload)
        expected = record(made)
        [body] = [
            r.body for g in expected.resource_logs for s in g.scope_logs for r in s.log_records
        ]
        del body.kvlist_value.values[0].value.kvlist_value.values[0]
        assert ExportLogsServiceRequest.FromString(new) == expected
    # What is masked already is not masked again.
    masked = record("***").SerializeToString()
    assert by_action["mask"](LOGS, masked) == (masked, {})


@given(st.text("ab.[]!*?^-", min_size=1, max_size=8), st.text("ab.[]!^-", max_size=8))
@example("[]aab]", "b")
@example("[!]aaa]", "b")
@example("x.*.aab", "x.y.aab")
def test_a_name_that_matches_has_what_requests_are_searched_for(glob, name):
    keys = Keys([glob, "plain"])
    assert keys.match(name) == fnmatch.fnmatchcase(name, glob)
    if keys.match(name) and keys.literals is not None:
        assert any(literal in name for literal in keys.literals)


def everything(kind, text, depth=0):
    """Make a message in which every field is set, and every text is `text`."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.type == F.TYPE_MESSAGE:
            if depth > 12 or field.message_type.name == "AnyValue":
                continue
            made = everything(field.message_type._concrete_class, text, depth + 1)
            target = getattr(message, field.name)
            if field.is_repeated:
                target.append(made)
            else:
                target.CopyFrom(made)
        elif field.type == F.TYPE_STRING and not field.containing_oneof:
            if field.is_repeated:
                getattr(message, field.name).append(text)
            else:
                setattr(message, field.name, text)
    for field in kind.DESCRIPTOR.fields:
        if field.message_type and field.message_type.name == "AnyValue":
            value = getattr(message, field.name)
            fill(value, [text, {"a": text, text: {"b": [text]}}, b"\xff" + text.encode(), 1])
    return message


def replaced(message, old, new):
    """Do by descriptors, slowly, what is to be done."""
    for field, value in message.ListFields():
        if field.type == F.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                replaced(each, old, new)
        elif field.type == F.TYPE_STRING:
            if field.is_repeated:
                value[:] = [each.replace(old, new) for each in value]
            else:
                setattr(message, field.name, value.replace(old, new))
        elif field.name == "bytes_value":
            message.bytes_value = value.replace(old.encode(), new.encode())
    return message


@pytest.mark.parametrize("signal", [TRACES, LOGS], ids=lambda signal: signal.name)
@pytest.mark.parametrize(
    ("how", "secret", "hidden"),
    [
        ({}, "https://me:hunter2@h", "https://***@h"),
        ({"detectors": ["all"]}, GITHUB, "***"),
        ({"rules": [{"name": "r", "pattern": "hunter[0-9]"}]}, "hunter2", "***"),
        ({"rules": [{"name": "r", "pattern": r"\bhunter[0-9]\b"}]}, "hunter2", "***"),
        ({"rules": [{"name": "r", "detectors": ["card"]}]}, "4111111111111111", "***"),
    ],
)
def test_a_secret_survives_in_no_position_and_all_else_does(signal, how, secret, hidden):
    request = everything(signal.request, f"see {secret} there")
    payload = request.SerializeToString()
    assert payload.count(secret.encode()) > 30
    new, counts = redactor(**how)(signal, payload)
    assert secret.encode() not in new
    assert signal.request.FromString(new) == replaced(request, secret, hidden)
    assert counts.total() == payload.count(secret.encode())


def test_what_drops_leaves_no_secret_either():
    for signal in (TRACES, LOGS):
        payload = everything(signal.request, f"see {GITHUB}").SerializeToString()
        rule = {"name": "r", "detectors": ["github"], "action": "drop"}
        new, _ = redactor(rules=[rule])(signal, payload)
        assert GITHUB.encode() not in new
        assert b"***" in new


TEXTS = st.sampled_from(
    ["", "plain", "ünï://x@y", "see TCK-1 and TCK-2", "TCK-9", URL, GITHUB, "a@b.example", "@", "/"]
)
SCALARS = {
    F.TYPE_STRING: TEXTS,
    F.TYPE_BYTES: st.one_of(st.binary(max_size=16), TEXTS.map(str.encode)),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_DOUBLE: st.floats(allow_nan=False),
}


@st.composite
def messages(draw, kind, depth=0):
    """Draw a message of any of its fields."""
    message = kind()
    fields = [f for f in kind.DESCRIPTOR.fields if depth < 7 or f.type != F.TYPE_MESSAGE]
    for field in draw(st.lists(st.sampled_from(fields or [None]), max_size=4 if fields else 0)):
        if field.type == F.TYPE_MESSAGE:
            inner = draw(messages(field.message_type._concrete_class, depth + 1))
            if field.is_repeated:
                getattr(message, field.name).append(inner)
            else:
                getattr(message, field.name).CopyFrom(inner)
        else:
            value = draw(SCALARS.get(field.type, st.integers(0, 2**31 - 1)))
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


ALL, READ_WHOLE = redactor(detectors=["all"]), redactor(detectors=["all"])
READ_WHOLE._rules.screens = [lambda _: None for _ in READ_WHOLE._rules.screens]
NOTHING = redactor(
    url_credentials=False, detectors=["jwt", "card"], rules=[{"name": "n", "keys": ["none"]}]
)
TICKETS = [
    redactor(url_credentials=False, rules=[{"name": "t", "pattern": pattern}])
    for pattern in ("TCK-[0-9]", r"\bTCK-[0-9]\b")
]


@pytest.mark.parametrize("signal", [TRACES, LOGS], ids=lambda signal: signal.name)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_request_changes_where_it_has_to_and_nowhere_else(signal, data):
    request = data.draw(messages(signal.request))
    payload = request.SerializeToString()
    assert NOTHING(signal, payload)[0] is payload
    # What is passed on unread has nothing in it.
    assert ALL(signal, payload) == READ_WHOLE(signal, payload)
    expected = request.__deepcopy__()
    for digit in "129":
        replaced(expected, f"TCK-{digit}", "***")
    for redact in TICKETS:
        new, counts = redact(signal, payload)
        found = signal.request.FromString(new)
        assert found == expected
        assert (new is payload) == (not counts)


def test_pieces_with_nothing_to_hide_stay_byte_for_byte():
    # Fields in an unusual order, with numbers longer than they need be, and one nobody knows.
    odd = b"\x2a\x01x" + b"\x30\x82\x00" + b"\x0a\x10" + bytes(range(16)) + b"\xf2\x3f\x03new"
    [bad] = span_with(URL).resource_spans[0].scope_spans[0].spans
    bad = bad.SerializeToString() + b"\xf2\x3f\x03new"
    good = framing.length_delimited(2, odd)
    scope = good + framing.length_delimited(2, bad) + b"\xf2\x3f\x03old" + good
    payload = framing.length_delimited(1, framing.length_delimited(2, scope) + b"\x12\x00") * 2
    new, counts = redactor()(TRACES, payload)
    assert counts == {"url_credentials": 2}
    assert new.count(good) == payload.count(good) == 4
    assert (new.count(b"\xf2\x3f\x03old"), new.count(b"\xf2\x3f\x03new")) == (2, 6)
    found = ExportTraceServiceRequest.FromString(new)
    [value] = found.resource_spans[0].scope_spans[0].spans[1].attributes
    assert value.value.string_value == "postgres://***@db.example/shop"


def test_texts_and_patterns_that_mean_harm_take_no_longer():
    began = time.process_time()
    assert hide("a" * 100_000 + "!", rules=[{"name": "r", "pattern": "(a+)+$"}])
    # Each of very many matches may mean a look at all that is left.
    assert hide("a" * 10_000, rules=[{"name": "r", "pattern": "a.*b|a"}]) == "***"
    many = {"detectors": ["all"]}
    for part in ("@", "://", "://a", "eyJ", "a@a.", "4111 ", "-----BEGIN PRIVATE KEY-----", "u:p@"):
        hide(part * (100_000 // len(part)), **many)
    assert time.process_time() - began < 3
    many_spans = span_with("TCK-1")
    [span] = many_spans.resource_spans[0].scope_spans[0].spans
    for _ in range(100):
        span.attributes.add(key="said").value.string_value = "TCK-1 " * 110
    redact = redactor(rules=[{"name": "r", "pattern": "TCK-1"}])
    new, counts = redact(TRACES, many_spans.SerializeToString())
    assert b"TCK" not in new
    assert counts == {"r": 11_001}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"detectors": ["emial"]}, "there is no detector 'emial', did you mean email"),
        ({"rules": [{"name": "r", "detectors": ["x"]}]}, "there is no detector 'x'"),
        ({"rules": [{"name": "r", "pattern": "(hunter2"}]}, "RE2 regular expression (missing )"),
        ({"rules": [{"name": "r", "pattern": r"(?<=a)b"}]}, "not a valid RE2 regular expression"),
        ({"rules": [{"name": "r", "pattern": "a*"}]}, "matches empty text"),
        ({"rules": [{"name": "r"}]}, "r hides nothing"),
        (
            {"rules": [{"name": "r", "pattern": "a", "detectors": ["jwt"]}]},
            "split it into two rules",
        ),
        ({"rules": [{"name": "r", "keys": ["a"]}] * 2}, "r is used twice"),
        ({"rules": [{"name": "url_credentials", "keys": ["a"]}]}, "is a detector's name"),
        ({"rules": [{"name": "r", "keys": ["a"], "action": "hash"}]}, "hashing needs a key"),
        ({"hash_key": "hunter2"}, "fewer than 16 bytes"),
        ({"hash_key": "${env:NOT_THERE}"}, "no variable NOT_THERE"),
        ({"hash_key": KEY, "hash_key_file": "x"}, "leave one of the two out"),
        ({"rules": [{"name": "r", "keys": ["a"], "action": "hide"}]}, "'mask', 'hash' or 'drop'"),
    ],
)
def test_settings_that_make_no_sense_are_said_so_without_secrets(given, says):
    with pytest.raises(pydantic.ValidationError) as error:
        Redact(**given)
    assert says in str(error.value)
    assert "hunter2" not in str(error.value)


def test_without_the_engine_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(SettingsError, match=r"install otel-vtrack\[server\]"):
        redactor(detectors=["jwt"])
    with pytest.raises(pydantic.ValidationError, match=r"install otel-vtrack\[server\]"):
        redactor(rules=[{"name": "r", "pattern": "a"}])
    assert hide(URL) == "postgres://***@db.example/shop"


def test_a_key_comes_from_a_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    rules = [{"name": "r", "keys": ["said"], "action": "hash"}]
    assert hide("a", rules=rules, hash_key_file=path) == hide("a", rules=rules, hash_key=KEY)
    for wrong in ("hunter2", None):
        path.write_text(wrong) if wrong else path.unlink()
        with pytest.raises(SettingsError, match=r"hash_key_file .* cannot be used") as error:
            redactor(rules=rules, hash_key_file=path)
        assert "hunter2" not in str(error.value)
