"""The client, blocking and not, against a server on a real port."""

import asyncio
import contextlib
import inspect
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import grpc
import pytest

from otel_vtrack.client import AsyncClient, Client, trace_filter
from otel_vtrack.client.connection import Connection
from otel_vtrack.v1 import assessments_pb2

EXPERIMENT = "shop"


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def methods(kind):
    return {
        name
        for name, found in vars(kind).items()
        if inspect.isfunction(found) and not name.startswith("_")
    } - {"ask", "close", "from_env"}


def rpcs():
    from importlib import import_module  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from otel_vtrack import v1  # noqa: PLC0415

    for path in sorted(Path(v1.__file__).parent.glob("*_pb2.py")):
        descriptor = import_module(f"otel_vtrack.v1.{path.stem}").DESCRIPTOR
        for service in descriptor.services_by_name.values():
            yield from service.methods


def test_both_clients_have_a_method_for_every_rpc_and_no_other():
    def snake(name):
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")

    expected = {snake(method.name) for method in rpcs()}
    assert methods(Client) == methods(AsyncClient) == expected


def test_methods_take_every_field_of_their_request():
    # The whole message of a creation is spread over arguments.
    for method in rpcs():
        request = method.input_type
        fields = {field.name for field in request.fields} - {"page_token"}
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in method.name).lstrip("_")
        taken = set(inspect.signature(getattr(Client, name)).parameters)
        if method.name.startswith("Create") and len(fields) == 1:
            [inside] = request.fields
            fields = {field.name for field in inside.message_type.fields if field.name in taken}
            assert fields, name
        assert fields <= taken, name


def test_methods_are_documented_and_have_the_arguments_of_what_they_ask():
    assert str(inspect.signature(Client.get_experiment)).startswith("(self, experiment: str, *, ")
    assert Client.search_traces.__name__ == "search_traces"
    for kind in (Client, AsyncClient):
        for name in methods(kind):
            assert getattr(kind, name).__doc__, name


def test_neither_the_server_nor_the_extra_is_loaded_before_it_is_needed():
    code = "import sys, otel_vtrack.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"pandas", "pyarrow", "numpy", "IPython", "chdb", "click", "rich"}
    assert not loaded & {f"otel_vtrack.{name}" for name in ("api", "analysis", "query", "store")}


def test_experiments_go_round(client, send):
    send({})
    made = client.create_experiment("billing", tags={"team": "a"})
    assert (made.experiment, made.name, made.tags) == ("billing", "billing", {"team": "a"})
    assert code_of(lambda: client.create_experiment("billing")) is grpc.StatusCode.ALREADY_EXISTS
    renamed = client.update_experiment(
        "billing", name="Billing", set_tags={"tier": "1"}, delete_tags=["team"]
    )
    assert (renamed.name, renamed.tags) == ("Billing", {"tier": "1"})
    assert client.get_experiment("Billing").experiment == "billing"
    assert [each.name for each in client.search_experiments()] == ["Billing", "shop"]
    assert [each.name for each in client.search_experiments(name_contains="BILL")] == ["Billing"]
    client.update_experiment("billing", archived=True)
    assert [each.name for each in client.search_experiments()] == ["shop"]
    found = client.search_experiments(include_archived=True, limit=1)
    assert [each.name for each in found] == ["Billing"]


def test_assessments_go_round(client, send, trace_id):
    send({})
    made = client.create_assessment(
        trace_id(),
        "relevance",
        0.5,
        rationale="half of it",
        metadata={"a": "1"},
        source_type="human",
        source_id="eve",
    )
    assert made.assessment_id.startswith("a-")
    assert made.value.number_value == 0.5
    assert made.source_type == assessments_pb2.SOURCE_TYPE_HUMAN
    changed = client.update_assessment(
        made.assessment_id, value=["a", {"b": None}], metadata={"b": "2"}
    )
    assert changed.metadata == {"a": "1", "b": "2"}
    failed = client.create_assessment(trace_id(), "safety", error=RuntimeError("no model"))
    assert (failed.error.error_code, failed.error.error_message) == ("RuntimeError", "no model")
    wanted = client.create_assessment(
        trace_id(), "answer", {"text": "42"}, assessment_type="expectation"
    )
    assert wanted.assessment_type == assessments_pb2.ASSESSMENT_TYPE_EXPECTATION
    found = client.search_assessments(order_by=["name"])
    assert [each.assessment_name for each in found] == ["answer", "relevance", "safety"]
    client.delete_assessment(made.assessment_id)
    client.delete_assessment(made.assessment_id)
    changes = client.list_assessment_changes(made.assessment_id)
    assert [change.operation for change in changes] == [1, 2, 3]


def test_an_assessment_that_was_recorded_but_not_answered_is_not_recorded_twice(
    client, send, trace_id
):
    from otel_vtrack.client import assessments  # noqa: PLC0415

    send({})
    call = assessments.create_assessment(trace_id(), "relevance", 1)
    first = client.ask(call)
    again = client.ask(call)
    assert again == first
    given = assessments.create_assessment(trace_id(), "x", 1, assessment_id=first.assessment_id)
    assert code_of(lambda: client.ask(given)) is grpc.StatusCode.ALREADY_EXISTS


def test_values_are_those_that_an_assessment_can_have(client):
    class Scalar:
        def item(self):
            return 0.25

    from otel_vtrack.client.values import from_value, to_value  # noqa: PLC0415

    for value in (True, 3, 0.25, "yes", None, [1, "a"], {"a": {"b": [None]}}):
        back = from_value(to_value(value))
        assert (back, type(back)) == (value, type(value))
    assert from_value(to_value(Scalar())) == 0.25
    for wrong, error in ((float("nan"), ValueError), (b"x", TypeError), (object(), TypeError)):
        with pytest.raises(error):
            client.create_assessment("1" * 32, "a", wrong)
    with pytest.raises(ValueError, match="human, llm_judge, code"):
        client.create_assessment("1" * 32, "a", 1, source_type="cat")


def test_a_filter_is_composed_without_letting_a_text_out_of_its_quotes():
    assert trace_filter() == ""
    assert trace_filter("a = 'b' OR c = 'd'") == "a = 'b' OR c = 'd'"
    assert trace_filter("a = 'b' OR c = 'd'", version="x' OR '1' = '1") == (
        "(a = 'b' OR c = 'd') AND version = 'x'' OR ''1'' = ''1'"
    )
    noon = datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))
    assert trace_filter(state="error", start_time_from=noon, min_duration=timedelta(seconds=2)) == (
        "status = 'ERROR' AND timestamp >= '2026-01-31T12:00:00.000000+00:00'"
        " AND execution_time >= 2000000us"
    )
    with pytest.raises(ValueError, match="in_progress"):
        trace_filter(state="odd")


def test_keywords_and_filter_hold_together(client, send, trace_id):
    send(
        {"name": "it's", "ms": 50, "attributes": {"session.id": "s"}},
        {"name": "step", "parent": 1, "ms": 20, "status": 2},
        service__version="1",
    )
    send({"trace": 2, "at": 5, "status": 2}, service__version="2")
    start = datetime.fromtimestamp(1_790_000_000, timezone.utc)
    later = start + timedelta(milliseconds=5)
    for where, ids in (
        ({"name": "it's"}, [1]),
        ({"state": "ERROR"}, [2]),
        ({"session_id": "s"}, [1]),
        ({"start_time_from": later}, [2]),
        ({"start_time_until": later}, [1]),
        ({"min_duration": timedelta(milliseconds=50)}, [1]),
        ({"filter": "version = '1' OR version = '2'", "state": "ok"}, [1]),
        ({"version": "1", "state": "error"}, []),
    ):
        assert [int(each.trace_id, 16) for each in client.search_traces(**where)] == ids, where
        assert client.count_traces(**where) == len(ids)
        assert sum(b.trace_count for b in client.get_trace_histogram(**where)) == len(ids)
    for where, count in (
        ({"status": "error"}, 2),
        ({"trace_id": trace_id(1)}, 2),
        ({"name": "it's", "version": "1"}, 1),
        ({"min_duration": timedelta(milliseconds=20)}, 2),
        ({"start_time_from": later, "filter": "name = 'x' OR status = 'ERROR'"}, 1),
    ):
        assert len(client.search_spans(**where).fetch()) == count, where
    client.create_assessment(trace_id(1), "good", value=True, source_type="human", source_id="eve")
    for where, count in (
        ({"trace_id": trace_id(1), "source_id": "eve"}, 1),
        ({"assessment_name": "good", "source_type": "human"}, 1),
        ({"assessment_type": "expectation"}, 0),
    ):
        assert len(client.search_assessments(**where).fetch()) == count, where


def test_a_search_asks_when_gone_through_and_each_time_anew(client, send):
    search = client.search_traces(page_size=2)
    assert list(search) == []
    for number in range(1, 6):
        send({"trace": number, "at": number})
    assert [int(each.trace_id, 16) for each in search] == [5, 4, 3, 2, 1]
    assert [len(page) for page in search.pages()] == [2, 2, 1]
    assert [int(each.trace_id, 16) for each in client.search_traces(limit=3)] == [5, 4, 3]
    assert len(client.search_traces(limit=3, page_size=2).fetch()) == 3
    assert int(search.first().trace_id, 16) == 5
    assert len(search.fetch()) == 5
    assert client.search_traces(name="none").first() is None
    with pytest.raises(ValueError, match="limit"):
        client.search_traces(limit=0)


def test_a_single_text_is_one_name_and_not_its_letters(client, send):
    for number, version in enumerate("12"):
        send({"trace": number + 1, "ms": 10 - number}, service__version=version)
    found = client.search_traces(order_by="execution_time DESC")
    assert found.to_pandas("version")["version"].tolist() == ["1", "2"]
    frame = client.compare_versions("1", "2", metrics="latency", stratify_by="none").to_pandas()
    assert set(frame["metric"]) == {"latency"}
    assert set(frame["verdict"]) == {"NOT_ENOUGH_DATA"}
    [mean] = frame[frame["figure"] == "mean"]["candidate.value"]
    assert mean == pytest.approx(9)


def test_a_time_a_duration_and_an_address_of_another_form_are_refused(client):
    for given in ({"min_duration": 2}, {"width": "1h"}):
        with pytest.raises(TypeError, match="a duration is a timedelta"):
            client.get_trace_histogram(**given)
    for ask in (client.count_traces, client.get_timeline):
        with pytest.raises(TypeError, match="a time is a datetime"):
            ask(start_time_from="2026-01-01")
    with pytest.raises(ValueError, match="write vtrack:4317"):
        Client("vtrack")
    assert Connection(target="vtrack", tls=True).target == "vtrack"


def test_a_trace_is_got_whole(client, send, trace_id):
    send({"name": "a"}, {"name": "b", "parent": 1})
    trace = client.get_trace(trace_id())
    infos, otlp = trace
    assert infos == trace.infos
    assert otlp == trace.otlp
    assert [span.name for span in trace.spans] == ["a", "b"]


def test_the_other_client_does_the_same_without_blocking(target, send, trace_id):
    for number in range(1, 4):
        send({"trace": number, "at": number})

    async def ask():
        async with AsyncClient(target) as client:
            search = client.search_traces(page_size=2)
            ids = [int(each.trace_id, 16) async for each in search]
            pages = [len(page) async for page in search.pages()]
            first = await search.first()
            whole = await asyncio.gather(*(client.get_trace(trace_id(n)) for n in (1, 2, 3)))
            made = await client.create_assessment(trace_id(), "good", value=True)
            frame = await search.to_pandas(["trace_id"])
            table = await search.to_arrow(["trace_id"])
            with pytest.raises(grpc.RpcError) as caught:
                await client.get_trace("1" * 32)
            code = caught.value.code()
            return ids, pages, first, whole, made, len(frame), table.num_rows, code

    ids, pages, first, whole, made, *lengths, code = asyncio.run(ask())
    assert (ids, pages, int(first.trace_id, 16)) == ([3, 2, 1], [2, 1], 3)
    assert [trace.infos[0].trace_id for trace in whole] == [trace_id(n) for n in (1, 2, 3)]
    assert made.value.bool_value
    assert lengths == [3, 3]
    assert code is grpc.StatusCode.NOT_FOUND


class Late:
    """A server of one method, or some joined by `|`, which may refuse first or come up late."""

    def __init__(self, method, answers):
        self.seen = []
        self.seconds_left = []
        self._answers = list(answers)
        self._handlers = dict.fromkeys(method.rpartition("/")[2].split("|"), self._handler())
        self._service = method.lstrip("/").rpartition("/")[0]
        self._pool = None
        self.server = None

    def _handler(self):
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request, context):
        self.seen.append((request, dict(context.invocation_metadata())))
        self.seconds_left.append(context.time_remaining())
        code = self._answers.pop(0) if self._answers else None
        if code is not None:
            context.abort(code, "told so")
        return b""

    def start(self, port=0, credentials=None):
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        self._pool = ThreadPoolExecutor(2)
        self.server = grpc.server(self._pool)
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(self._service, self._handlers),)
        )
        address = f"127.0.0.1:{port}"
        if credentials is None:
            port = self.server.add_insecure_port(address)
        else:
            port = self.server.add_secure_port(address, credentials)
        self.server.start()
        return port

    def stop(self):
        if self.server:
            self.server.stop(None).wait(10)
            self._pool.shutdown()


@pytest.fixture
def late():
    made = []

    def make(method, *answers):
        made.append(Late(f"/otel_vtrack.v1.{method}", answers))
        return made[-1]

    yield make
    for each in made:
        each.stop()


AWAY = grpc.StatusCode.UNAVAILABLE


def test_a_question_waits_for_a_server_that_comes_up_late(late, free_port):
    served = late("TraceService/SearchTraces")
    starting = threading.Timer(0.7, served.start, [free_port])
    starting.start()
    with Client(f"127.0.0.1:{free_port}", retry_seconds=30) as client:
        assert list(client.search_traces()) == []
    starting.join()


def test_a_coroutine_waits_for_a_server_that_comes_up_late(late, free_port):
    served = late("TraceService/SearchTraces")
    starting = threading.Timer(0.7, served.start, [free_port])
    starting.start()

    async def ask():
        async with AsyncClient(f"127.0.0.1:{free_port}", retry_seconds=30) as client:
            return [each async for each in client.search_traces()]

    assert asyncio.run(ask()) == []
    starting.join()


def test_what_may_be_repeated_is_repeated_and_nothing_else(late):
    def tried(method, ask):
        served = late(method, AWAY, AWAY)
        opened = Client(f"127.0.0.1:{served.start()}", retry_seconds=30)
        with opened as client, contextlib.suppress(grpc.RpcError):
            ask(client)
        return len(served.seen)

    assert tried("ExperimentService/GetExperiment", lambda c: c.get_experiment("a")) == 3
    assert tried("TraceService/SetTraceTag", lambda c: c.set_trace_tag("a", "b", "c")) == 3
    assert (
        tried("AssessmentService/CreateAssessment", lambda c: c.create_assessment("a", "b", 1)) == 3
    )
    assert (
        tried(
            "AssessmentService/CreateAssessment",
            lambda c: c.create_assessment("a", "b", 1, assessment_id="mine"),
        )
        == 1
    )
    assert (
        tried("ExperimentService/UpdateExperiment", lambda c: c.update_experiment("a", name="b"))
        == 1
    )
    assert tried("ExperimentService/DeleteExperiment", lambda c: c.delete_experiment("a")) == 1
    assert (
        tried(
            "ExperimentService/DeleteExperiment", lambda c: c.delete_experiment("a", dry_run=True)
        )
        == 3
    )


def test_other_refusals_are_not_repeated(late):
    served = late("ExperimentService/GetExperiment", grpc.StatusCode.INTERNAL)
    with Client(f"127.0.0.1:{served.start()}", retry_seconds=30) as client:
        assert code_of(lambda: client.get_experiment("a")) is grpc.StatusCode.INTERNAL
    assert len(served.seen) == 1


def test_an_assessment_keeps_its_id_over_all_attempts(late):
    served = late("AssessmentService/CreateAssessment", AWAY)
    with Client(f"127.0.0.1:{served.start()}", retry_seconds=30) as client:
        client.create_assessment("a", "b", 1)
    first, second = served.seen
    assert first[0] == second[0]


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_what_follows_a_call_has_the_time_that_is_left_of_it(late, client):
    answers = (AWAY, AWAY, AWAY, grpc.StatusCode.ALREADY_EXISTS)
    served = late("AssessmentService/CreateAssessment|GetAssessment", *answers)
    asking = client(f"127.0.0.1:{served.start()}", timeout=600)

    async def ask():
        async with asking:
            await asking.create_assessment("a", "b", 1, timeout=5)

    if client is AsyncClient:
        asyncio.run(ask())
    else:
        with asking:
            asking.create_assessment("a", "b", 1, timeout=5)
    # The pauses take 0.35 s or more; gRPC may send up to 3 % more than is left.
    assert served.seconds_left[-1] < 4.9


def test_a_call_gives_up_when_its_time_is_over(free_port):
    with Client(f"127.0.0.1:{free_port}", retry_seconds=60) as client:
        begun = time.monotonic()
        code = code_of(lambda: client.get_experiment("a", timeout=0.5))
        assert code in {AWAY, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert time.monotonic() - begun < 20


def test_a_deadline_is_that_of_the_call_or_of_the_client(target, store):
    held = [store._clients.get() for _ in range(store._clients.qsize())]
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    try:
        with Client(target, timeout=0.3) as client:
            assert code_of(client.search_traces().first) is late
        with Client(target, timeout=60) as client:
            assert code_of(client.search_traces(timeout=0.3).first) is late
    finally:
        for each in held:
            store._clients.put(each)


def test_a_token_is_sent_with_every_call(late):
    served = late("ExperimentService/GetExperiment")
    with Client(f"127.0.0.1:{served.start()}", token="secret") as client:
        client.get_experiment("a")
        assert "secret" not in repr(client)
        assert "secret" not in repr(client._connection)
    [(_, metadata)] = served.seen
    assert metadata["authorization"] == "Bearer secret"


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_token_does_not_leave_the_machine_in_clear_unless_told(client):
    for host in ("example.org:4317", "10.0.0.1:1", "[2001:db8::1]:4317", "dns:///example.org:1"):
        with pytest.raises(ValueError, match="for everybody to read"):
            client(host, token="secret")
        client(host, token="secret", send_token_in_clear=True)
        client(host, token="secret", tls=True)
        client(host)
    for host in ("127.0.0.1:1", "localhost:4317", "[::1]:1", "unix:/tmp/x", "dns:///localhost:1"):
        client(host, token="secret")
    with pytest.raises(ValueError, match="cut or quoted"):
        client(token="a\n")


def test_a_token_comes_from_one_place_and_a_file_may_change(late, monkeypatch, tmp_path):
    served = late("ExperimentService/GetExperiment")
    file = tmp_path / "token"
    file.write_text("\n  # of the server\n first \nof another\n")
    monkeypatch.setenv("OTEL_VTRACK_TOKEN_FILE", str(file))
    with Client.from_env(target=f"http://127.0.0.1:{served.start()}/") as client:
        client.get_experiment("a")
        file.write_text("second")
        client.get_experiment("a")
        file.write_text("")
        with pytest.raises(ValueError, match="it is empty"):
            client.get_experiment("a")
    assert [metadata["authorization"] for _, metadata in served.seen] == [
        "Bearer first",
        "Bearer second",
    ]
    for given in ({"token": "x", "token_file": file}, {"token_file": tmp_path / "none"}):
        with pytest.raises(ValueError, match=r"give one|No such file"):
            Client(**given)
    file.write_text("x")
    monkeypatch.setenv("OTEL_VTRACK_TOKEN", "y")
    with pytest.raises(ValueError, match="give one"):
        Client.from_env()
    # What is said in code wins, whichever of the two it is.
    Client.from_env(token="z").close()
    with pytest.raises(ValueError, match="everybody to read"):
        Client("elsewhere:1", token_file=file)
    with pytest.raises(ValueError, match="http:// is without TLS"):
        Client("http://elsewhere:1", tls=True)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TIMEOUT", "soon", "write seconds, such as 30"),
        ("TIMEOUT", "nan", "write seconds, such as 30"),
        ("TLS", "maybe", "write true or false"),
        ("SERVER", "https://", "write HOST:PORT"),
    ],
)
def test_a_variable_that_makes_no_sense_says_what_to_write(monkeypatch, variable, value, says):
    monkeypatch.setenv(f"OTEL_VTRACK_{variable}", value)
    with pytest.raises(ValueError, match=says):
        Client.from_env()


def test_certificates_without_key_are_refused():
    with pytest.raises(ValueError, match="both or none"):
        Client(client_certificate=b"x")


def test_tls_trusts_only_whom_it_is_told_to(late, certificate):
    served = late("ExperimentService/GetExperiment")
    credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
    port = served.start(credentials=credentials)
    trusting = Client(f"localhost:{port}", token="t", root_certificates=certificate.chain)
    with trusting:
        trusting.get_experiment("a")
    with Client(f"localhost:{port}", tls=True, retry_seconds=0) as other:
        assert code_of(lambda: other.get_experiment("a", timeout=20)) is AWAY
    with Client(f"localhost:{port}", retry_seconds=0) as clear:
        assert code_of(lambda: clear.get_experiment("a", timeout=20)) is AWAY


def test_the_client_shows_its_own_certificate(late, certificate, monkeypatch, tmp_path):
    served = late("ExperimentService/GetExperiment")
    credentials = grpc.ssl_server_credentials(
        [(certificate.key, certificate.chain)], certificate.chain, require_client_auth=True
    )
    port = served.start(credentials=credentials)
    for name in ("chain", "key"):
        (tmp_path / name).write_bytes(getattr(certificate, name))
    for name, value in {
        "SERVER": f"localhost:{port}",
        "TOKEN": "t",
        "TIMEOUT": "20",
        "CA_FILE": str(tmp_path / "chain"),
        "CLIENT_CERTIFICATE_FILE": str(tmp_path / "chain"),
        "CLIENT_KEY_FILE": str(tmp_path / "key"),
    }.items():
        monkeypatch.setenv(f"OTEL_VTRACK_{name}", value)

    async def ask():
        async with AsyncClient.from_env() as client:
            await client.get_experiment("a")

    with Client.from_env() as client:
        client.get_experiment("a")
    asyncio.run(ask())
    assert [metadata["authorization"] for _, metadata in served.seen] == ["Bearer t"] * 2
    monkeypatch.delenv("OTEL_VTRACK_CLIENT_CERTIFICATE_FILE")
    monkeypatch.delenv("OTEL_VTRACK_CLIENT_KEY_FILE")
    with Client.from_env(retry_seconds=0) as client:
        assert code_of(lambda: client.get_experiment("a")) is AWAY


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TLS", "yes", "true or false"),
        ("TIMEOUT", "long", "TIMEOUT"),
        ("CA_FILE", "/none", "CA_FILE"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(monkeypatch, name, value, says):
    monkeypatch.setenv(f"OTEL_VTRACK_{name}", value)
    with pytest.raises(ValueError, match=says):
        Client.from_env()


@pytest.fixture
def free_port():
    import socket  # noqa: PLC0415

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


@pytest.fixture(scope="module")
def certificate():
    """A certificate for localhost that signs itself, valid for a day."""
    from types import SimpleNamespace  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return SimpleNamespace(
        chain=made.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
