"""Whatever is asked, on either wire: the answer has one of few codes, and tells of no inside."""

import base64
import http.client
import json
import re
from collections import Counter

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as Descriptor
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st

from otel_vtrack import api

METHODS = {method.path: method for service in api.SERVICES for method in service.methods}
# What deletes comes last, or there is nothing to ask about.
PATHS = sorted(METHODS, key=lambda path: ("/Delete" in path, path))
EXAMPLES = 15
AT_FIRST = 1_790_000_000
ANSWERS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS"}
# What only Python, the engine or this repository would say; nothing below has it.
INSIDE = re.compile(
    r"Traceback|DB::|SELECT |WHERE |Code: \d|Exception\b|[a-z]Error\b|\bError[:(]|<class|<method"
    r"|object at 0x|NoneType|has no attribute|unexpected keyword|\.py\b|line \d+, in "
    r"|otel_vtrack\.(?!v1)|(?i:clickhouse|chdb)|Nullable|/site-packages/"
)

# --- what people may write ---

TEXTS = ["", "shop", "1.0", "2.0", "production", "ui", "@champion", "@", "latency", "none"]
TEXTS += ["\x00", "a\x00b", "'", "\\'", "'; DROP TABLE spans --", "{x:String}", "%s", "`", "\n"]
TEXTS += ["\u202e", "\ufeff", "💩", "e\u0301", "İ", "x" * 70_000, "nan", "-1", "9" * 400, "1e999"]
TEXTS += ["../../etc/passwd", "\\N", "\x1b[31m", "0" * 32, f"tr-{1:032x}", "attribute:", "a:b:c"]
ANY_TEXT = st.one_of(st.sampled_from(TEXTS), st.text(max_size=8))

KEYS = ["name", "status", "version", "environment", "timestamp", "duration", "end_time", "cost"]
KEYS += ["request_id", "tag.x", "tags.`a b`", "span.attributes.n", "attributes.n", "span.type"]
KEYS += ["span.duration", "resource.service.name", "metadata.x", "feedback.relevance", "text"]
KEYS += ["expectation.relevance", "prompt", "session", "total_tokens", "git_commit", "span_count"]
KEYS += ["create_time", "value", "valid", "trace_count", "first_seen", "alias", "flag.ui", "kind"]
KEYS += ["event.name", "event.attributes.n", "parent_span_id", "metadata.`mlflow.trace.cost`"]
OPERATORS = ["=", "!=", "<", ">=", "LIKE", "NOT ILIKE", "RLIKE", "IN", "NOT IN", "BETWEEN", "~"]
OPERATORS += ["CONTAINS", "=="]
VALUES = ["'x'", "''", "'1.0'", "'OK'", "1", "-1", "1.5", "1e400", "9" * 30, "1ms", "999999999999w"]
VALUES += ["true", "now()", "now() - 1h", "now() - 99999999999w", "NULL", "('a', 'b')", "(1, 2)"]
VALUES += ["()", "'%'", "'['", "'a{1000}{1000}'", "'(?P<'", "'2026-10-01'", "'\x00'", "`x`", "0x10"]
VALUES += ["1 AND 2", "'1' AND '2'", f"'{1:032x}'"]
CLAUSES = st.one_of(
    st.builds("{} {} {}".format, *map(st.sampled_from, (KEYS, OPERATORS, VALUES))),
    st.builds("{} {}".format, st.sampled_from(KEYS), st.sampled_from(["IS NULL", "IS NOT NULL"])),
    st.sampled_from(["has(tag.x)", "exists span (name = 'ask')", "exists event (name = 'e')"]),
)
JOINED = st.recursive(
    CLAUSES,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner),
        st.builds("NOT {}".format, inner),
        st.builds("exists span ({})".format, inner),
    ),
    max_leaves=4,
)
FILTERS = st.one_of(
    JOINED,
    st.builds(
        lambda text, at, put: text[: at % (len(text) + 1)] + put + text[at % (len(text) + 1) :],
        JOINED,
        st.integers(0, 99),
        st.sampled_from(["'", "(", ")", "\x00", "é", "`", ".", ",", "-", "\\", " AND"]),
    ),
    st.builds(lambda text, times: "(" * times + text, CLAUSES, st.sampled_from([1, 60, 5_000])),
    st.builds(lambda text, times: "NOT " * times + text, CLAUSES, st.sampled_from([60, 3_000])),
    st.builds(lambda text, times: " OR ".join([text] * times), CLAUSES, st.sampled_from([60, 300])),
    ANY_TEXT,
)


def known(*values):
    """Mostly what gets past the first look, or nothing is ever asked."""
    return st.one_of(st.sampled_from(values), st.sampled_from(values), ANY_TEXT)


BY_NAME = {
    "filter": FILTERS,
    "order_by": st.builds(
        "{}{}".format, st.sampled_from([*KEYS, ""]), st.sampled_from(["", " DESC", " sideways"])
    ),
    "trace_id": known(f"{1:032x}", f"{3:032x}", f"{99:032x}"),
    "trace_ids": known(f"{1:032x}", f"{99:032x}"),
    "span_id": known("", "01010101" * 2),
    "experiment": known("shop", "", "nowhere"),
    "service_name": known("shop", ""),
    "environment": known("production", ""),
    "environments": known("production", "staging"),
    "version": known("1.0", "2.0", "@champion"),
    "baseline_version": known("1.0"),
    "candidate_version": known("2.0"),
    "flag": known("ui"),
    "alias": known("champion", "old"),
    "assessment_id": known("a-1", "a-2", "a-9"),
    "assessment_name": known("relevance", "mood"),
    "deployment_id": known("d-1", "d-2"),
    "metric": known("latency", "error_rate", "cost", "attribute:n", "assessment:relevance"),
    "metrics": known("latency", "error_rate", "tokens", "attribute:n"),
    "group_by": known("route", "name", "attributes.n", "flag.ui", "none"),
    "stratify_by": known("route", "none", "flag.ui", "environment"),
    # Which of those that were given out, and what is done to it: see `Told`.
    "page_token": st.builds(
        "token {} {} {}".format,
        st.integers(0, 30),
        st.sampled_from(["as it is", "inside", "outside"]),
        st.integers(0, 200),
    ),
}
SECONDS = [0, 1, -1, AT_FIRST, AT_FIRST + 50, 253_402_300_799, -62_135_596_800, 2**63 - 1, -(2**63)]
SECONDS += [9_223_372_036, 9_223_372_037, 2**32, 60, 3_600]
NANOS = [0, 0, 1, 999_999_999, -1, 10**9, -(2**31)]
MOMENTS = st.fixed_dictionaries(
    {"seconds": st.sampled_from(SECONDS), "nanos": st.sampled_from(NANOS)}
)
DOUBLES = [0.0, 1.0, -1.0, 0.05, 1.5, float("nan"), float("inf"), -float("inf"), 5e-324, 1e308]
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from(DOUBLES), ANY_TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(ANY_TEXT, inner, max_size=2)
    ),
    max_leaves=4,
)
JUNK = [None, True, 0, -1, 1.5, "", [], {}, [[]], {"a": 1}, "x", 2**64, 1e400, "NaN", [None]]
JUNK += [{"": None}, "\ud800", 10**400]


def scalars(field):
    match field.cpp_type:
        case Descriptor.CPPTYPE_STRING if field.type == Descriptor.TYPE_BYTES:
            return st.binary(max_size=20)
        case Descriptor.CPPTYPE_STRING:
            return BY_NAME.get(field.name, ANY_TEXT)
        case Descriptor.CPPTYPE_BOOL:
            return st.booleans()
        case Descriptor.CPPTYPE_ENUM:
            numbers = list(field.enum_type.values_by_number)
            return st.sampled_from([*numbers, *numbers, 99, -1, -(2**31)])
        case Descriptor.CPPTYPE_DOUBLE | Descriptor.CPPTYPE_FLOAT:
            return st.sampled_from(DOUBLES)
    unsigned = field.cpp_type in {Descriptor.CPPTYPE_UINT32, Descriptor.CPPTYPE_UINT64}
    bits = 64 if field.cpp_type in {Descriptor.CPPTYPE_INT64, Descriptor.CPPTYPE_UINT64} else 32
    most = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
    few = [0, 1, 2, 5, 100, 1_000, 1_001, 2**31 - 1, most]
    return st.sampled_from(few if unsigned else [*few, -1, -most - 1])


def fields_of(descriptor, depth=0):
    """Any fields of a message, as a dictionary from which one can be taken away."""
    known_messages = {
        "google.protobuf.Timestamp": MOMENTS,
        "google.protobuf.Duration": MOMENTS,
        "google.protobuf.Value": ANY_JSON,
        "google.protobuf.Struct": st.dictionaries(ANY_TEXT, ANY_JSON, max_size=2),
    }
    if descriptor.full_name in known_messages:
        return known_messages[descriptor.full_name]
    optional = {}
    for field in descriptor.fields:
        if field.message_type is None:
            one = scalars(field)
        elif field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            optional[field.name] = st.dictionaries(ANY_TEXT, scalars(value), max_size=3)
            continue
        elif depth > 3:
            continue
        else:
            one = fields_of(field.message_type, depth + 1)
        optional[field.name] = st.lists(one, max_size=3) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=optional)


WAYS = ["grpc", "grpc", "grpc, spoilt", "json", "json, spoilt", "json, cut", "protobuf"]


def filled(message, fields, told):
    """Write fields into a message, the texts of tokens replaced by tokens."""
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        items = value if field.is_repeated and isinstance(value, list) else [value]
        if name == "page_token":
            message.page_token = told.token(value)
        elif field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, name).update(value)
        elif field.message_type:
            for item in items:
                owner = getattr(message, name)
                inner = owner.add() if field.is_repeated else owner
                inner.SetInParent()
                if field.message_type.full_name in {
                    "google.protobuf.Value",
                    "google.protobuf.Struct",
                }:
                    put(inner, item)
                elif field.message_type.full_name.startswith("google.protobuf."):
                    inner.seconds, inner.nanos = item["seconds"], item["nanos"]
                else:
                    filled(inner, item, told)
        elif field.is_repeated:
            getattr(message, name).extend(items)
        else:
            setattr(message, name, value)
    return message


def put(message, value):
    """Write JSON into a Value or a Struct; json_format refuses what is not finite."""
    if message.DESCRIPTOR.name == "Struct":
        for key, inner in value.items():
            put(message.fields[key], inner)
        return
    match value:
        case None:
            message.null_value = 0
        case bool():
            message.bool_value = value
        case float():
            message.number_value = value
        case str():
            message.string_value = value
        case dict():
            message.struct_value.SetInParent()
            put(message.struct_value, value)
        case list():
            message.list_value.SetInParent()
            for inner in value:
                put(message.list_value.values.add(), inner)


def spoilt(value, path):
    """Put junk somewhere into JSON; `path` says where, and what."""
    where, *rest = path
    if len(rest) == 0 or not isinstance(value, dict | list) or not value:
        return JUNK[where % len(JUNK)]
    if isinstance(value, list):
        at = where % len(value)
        return [*value[:at], spoilt(value[at], rest), *value[at + 1 :]]
    key = sorted(value)[where % len(value)]
    return value | {key: spoilt(value[key], rest)}


class Told:
    """A server with something in it, and the page tokens that it gave out."""

    def __init__(self, served, spans):
        self.served = served
        self.tokens = []
        self.codes = Counter()
        self.channel = grpc.insecure_channel(served.grpc)
        for request in spans:
            served.export(request)
        trace = {"trace_id": f"{1:032x}"}
        for number in (1, 2):
            judged = {
                "assessment_name": "relevance",
                "value": number,
                "assessment_id": f"a-{number}",
            }
            self.ask("AssessmentService/CreateAssessment", assessment=trace | judged)
            place = {"service_name": "shop", "environment": "production", "experiment": "shop"}
            said = place | {"deployment_id": f"d-{number}", "version": f"{number}.0"}
            self.ask("DeploymentService/CreateDeployment", deployment=said)
        self.ask("VersionService/SetVersionAlias", version="1.0", alias="champion")
        for name in ("Trace", "Span", "Assessment", "Version", "Deployment"):
            self.ask(f"{name}Service/Search{name}s", page_size=1)
        for signal in (1, 2):
            self.ask("ExportService/ExportTelemetry", signal=signal, max_bytes=1)
        self.ask("ExportService/ExportChanges", page_size=1)
        assert len(self.tokens) > 6

    def ask(self, name, **fields):
        method = METHODS[f"/otel_vtrack.v1.{name}"]
        message = json_format.ParseDict(fields, method.request())
        call = self.channel.unary_unary(
            method.path, method.request.SerializeToString, method.response.FromString
        )
        answer = call(message, timeout=60)
        self.tokens += filter(None, [getattr(answer, "next_page_token", "")])

    def token(self, drawn):
        """Return a token, or what somebody made of it."""
        if not drawn.startswith("token "):
            return drawn
        _, which, how = drawn.split(" ", 2)
        how, _, where = how.rpartition(" ")
        token, where = self.tokens[int(which) % len(self.tokens)], int(where)
        if how == "inside":
            raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            raw[where % len(raw)] ^= 1 + where % 7
            return base64.urlsafe_b64encode(raw).decode().rstrip("=")
        at = where % len(token)
        return token if how == "as it is" else token[:at] + token[at + 1 :] + "é"[: where % 2]

    def by_grpc(self, path, payload):
        try:
            self.channel.unary_unary(path)(payload, timeout=30)
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""
        return "OK", ""

    def by_http(self, path, body, kind):
        # Anew each time: one that is kept is closed by the server once nothing was said for long.
        connection = http.client.HTTPConnection(self.served.http, timeout=60)
        try:
            connection.request("POST", path, body, {"content-type": kind})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return "BROKEN_OFF", repr(error)
        finally:
            connection.close()
        if answer.status == 200:
            return "OK", ""
        said = json.loads(content)
        assert answer.status < 500, said
        return said["code"].upper(), said["message"]

    def answer(self, path, message, way, where):
        """Ask on a wire; return the code, and what it says if it is no answer."""
        payload = message.SerializeToString()
        if way == "grpc":
            return self.by_grpc(path, payload)
        if way == "grpc, spoilt":
            changed = bytearray(payload)
            for place in where:
                if changed:
                    changed[place % len(changed)] = place % 256
            return self.by_grpc(path, bytes(changed))
        if way == "protobuf":
            return self.by_http(path, payload, "application/proto")
        try:
            asked = json_format.MessageToDict(message, preserving_proto_field_name=where[0] % 2)
        except (ValueError, json_format.Error):  # It cannot be said in JSON.
            asked = {}
        if way == "json, spoilt":
            asked = spoilt(asked, where)
        body = json.dumps(asked).encode()
        if way == "json, cut":
            body = body[: where[0] % (len(body) + 1)]
        return self.by_http(path, body, "application/json")


@pytest.fixture(scope="module")
def told(vtrack_on, make_spans, tmp_path_factory):
    def spans(number):
        attributes = {
            "session.id": f"s-{number % 3}",
            "vtrack.flag.ui": "on" if number % 2 else "off",
            "n": number,
            "gen_ai.usage.input_tokens": number,
            "gen_ai.request.model": "gpt-4o",
        }
        root = {"trace": number, "span": 1, "name": "ask", "ms": number, "at": number}
        below = {"trace": number, "span": 2, "name": "llm", "parent": 1, "attributes": attributes}
        return root | {"attributes": attributes}, below | {"status": 2 * (number % 7 == 0)}

    def version(name, numbers):
        every = [span for number in numbers for span in spans(number)]
        place = {"deployment__environment__name": "production"}
        return make_spans(*every, service__version=name, **place)

    served = vtrack_on(tmp_path_factory.mktemp("hostile") / "store")
    told = Told(served, [version("1.0", range(1, 20)), version("2.0", range(20, 40))])
    with told.channel:
        yield told
    assert served.stop() == 0
    assert "Traceback" not in served.log
    if sum(told.codes.values()) >= EXAMPLES * len(PATHS):
        # Were everything refused at the door, nothing would have been tried.
        assert told.codes["OK"] > sum(told.codes.values()) / 4, told.codes


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.rpartition("/")[2])
def test_no_call_makes_it_fail_or_tell_of_its_inside(told, path):
    method = METHODS[path]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        # Shrinking asks hundreds of times: worth it, as what is left says what is wrong.
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        fields=fields_of(method.request.DESCRIPTOR),
        way=st.sampled_from(WAYS),
        where=st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    )
    def is_answered(fields, way, where):
        message = filled(method.request(), fields, told)
        code, said = told.answer(path, message, way, where)
        told.codes[code] += 1
        event(code)
        note(f"{way} {where}: {str(message)[:2_000]}\n-> {code} {said[:2_000]}")
        assert told.served.process.poll() is None, told.served.log
        assert code in ANSWERS
        if found := INSIDE.search(said):
            pytest.fail(f"{path} tells of its inside ({found[0]!r}): {said[:500]}")

    is_answered()
