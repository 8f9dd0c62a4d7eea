"""A whole process that watches, with a webhook that fails and an OTLP endpoint that listens."""

import asyncio
import base64
import http.server
import json
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_vtrack import settings
from otel_vtrack.client import Client
from otel_vtrack.errors import SettingsError
from otel_vtrack.server import Server

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef" * 2).decode()
DOCS = (Path(__file__).parents[2] / "docs" / "watch.md").read_text()
MINUTE_MS = 60_000


class Endpoint:
    """A webhook at /hidden, which does as `plan` says, and OTLP/HTTP at /v1/logs.

    Attributes:
        plan: Answers to come, status and headers; None hangs until `release`. Then 204.
        deliveries: Headers and body of what was posted.
        logs: Log records that were exported.
    """

    def __init__(self):
        self.plan, self.deliveries, self.logs = [], [], []
        self.release = threading.Event()
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    endpoint = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status, headers = 200, {}
        if self.path == "/v1/logs":
            if self.headers.get("content-encoding") == "gzip":
                raise AssertionError
            request = ExportLogsServiceRequest.FromString(body)
            for group in request.resource_logs:
                self.endpoint.logs += group.scope_logs[0].log_records
        else:
            self.endpoint.deliveries.append((dict(self.headers), body))
            step = self.endpoint.plan.pop(0) if self.endpoint.plan else (204, {})
            if step is None:
                self.endpoint.release.wait(60)
                return
            status, headers = step
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint():
    made = Endpoint()
    yield made
    made.close()


def traffic(make_spans, service, version, count, minutes, *, failing=0.01):
    """Traces of a version that begin evenly from so many minutes ago until others ago."""
    rng = random.Random(version)
    first, last = minutes
    offset = time.time_ns() // 1_000_000 - 1_790_000_000_000
    return make_spans(
        *(
            {
                "trace": rng.getrandbits(120),
                "at": offset - (first - (first - last) * n / count) * MINUTE_MS,
                "ms": 200 * rng.lognormvariate(0, 0.5),
                "status": 2 * (rng.random() < failing),
            }
            for n in range(count)
        ),
        service__name=service,
        service__version=version,
        deployment__environment__name="production",
        deployment__id=f"{service}-{version}",
    )


def wait_until(holds, why, timeout=40):
    deadline = time.monotonic() + timeout
    while not (found := holds()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)
    return found


@pytest.mark.slow
def test_a_bad_deployment_is_told_of_once_whatever_fails_and_a_clean_one_is_not(
    vtrack, tmp_path, make_spans, endpoint
):
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    flags = [
        *("--watch-interval-seconds", "0.2"),
        *("--watch-webhook-url", f"{endpoint.url}/hidden"),
        *("--watch-webhook-secret-file", str(secret)),
        *("--watch-otlp-endpoint", endpoint.url),
    ]
    endpoint.plan = [None, (500, {}), (503, {"retry-after": "1"})]
    served = vtrack(*flags)
    for service, failing in (("shop", 0.5), ("quiet", 0.01)):
        served.export(traffic(make_spans, service, "1", 500, (180, 61)))
        served.export(traffic(make_spans, service, "2", 200, (60, 0), failing=failing))

    # The webhook hangs: neither what is sent nor the other way of telling waits for it.
    wait_until(lambda: endpoint.deliveries and endpoint.logs, lambda: served.log)
    started = time.monotonic()
    served.export(traffic(make_spans, "shop", "1", 20, (60, 50)))
    assert time.monotonic() - started < 5
    served.stop(signal.SIGKILL)
    endpoint.release.set()

    served = vtrack(*flags)
    with Client(served.grpc) as client:
        wait_until(lambda: len(endpoint.deliveries) >= 4, lambda: served.log)
        looked = client.list_watched_deployments().look_time
        later = wait_until(
            lambda: (
                (answer := client.list_watched_deployments()).look_time.ToNanoseconds()
                > looked.ToNanoseconds()
                and answer
            ),
            lambda: served.log,
        )
        [event] = client.list_watch_events().fetch()
        assert not client.list_watch_events(service_name="quiet").fetch()
    assert served.stop() == 0

    assert (event.service_name, event.version, event.baseline_version) == ("shop", "2", "1")
    assert (event.metric, event.deployment_id) == ("error_rate", "shop-2")
    watched = {each.service_name: each for each in later.deployments}
    assert [each.alarmed for each in watched["shop"].metrics] == [True, False, False]
    assert [each.alarmed for each in watched["quiet"].metrics] == [False] * 3
    assert watched["quiet"].candidate_count == 200

    # As docs/watch.md says to verify it.
    verified = {}
    exec(re.search(r"```python\n(.*?)```", DOCS, re.DOTALL)[1], verified)
    assert len(endpoint.deliveries) == 4
    for given, body in endpoint.deliveries:
        headers = {name.lower(): value for name, value in given.items()}
        assert verified["verify"](SECRET, headers, body)
        assert not verified["verify"](SECRET, headers, body + b" ")
        assert headers["webhook-id"] == event.event_id
    sent = json.loads(body)
    assert sent["type"] == "vtrack.watch.regression"
    assert sent["data"]["summary"] == event.summary
    assert sent["data"]["event_time"] == sent["timestamp"]

    # Perhaps twice: the end may have come before it could be stored that it was told.
    assert len(endpoint.logs) <= 2
    record = endpoint.logs[-1]
    assert (record.event_name, record.body.string_value) == (sent["type"], event.summary)
    told = {each.key: each.value for each in record.attributes}
    assert told["vtrack.watch.event_id"].string_value == event.event_id
    assert told["service.version"].string_value == "2"
    assert told["deployment.id"].string_value == "shop-2"
    assert told["vtrack.watch.difference_lower"].double_value == event.difference.lower

    assert event.event_id in served.log_path.read_text()
    for hidden in ("hidden", SECRET[6:], "shop"):
        assert hidden not in served.log_path.read_text()


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "OTEL_VTRACK_WATCH_WEBHOOK_SECRET"),
        ({"watch_webhook_secret": "whsec_hidden"}, "24 to 64 random bytes"),
        ({"watch_webhook_secret_file": "/none"}, "/none is not a readable text file"),
    ],
)
def test_a_webhook_without_a_good_secret_is_refused_and_the_message_says_what_to_do(
    tmp_path, given, what
):
    url = {"watch_webhook_url": "http://127.0.0.1:1/hidden", "store_url": f"chdb://{tmp_path}/s"}
    with pytest.raises(SettingsError, match=what) as raised:
        asyncio.run(Server(settings.load(url | given)).start())
    assert "hidden" not in str(raised.value)
    assert not (tmp_path / "s").exists()
