"""`vtrack watch`, asked of a server whose watch looked at a good deployment and a bad one."""

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner

from otel_vtrack.api import Backend, add_api
from otel_vtrack.cli import watch
from otel_vtrack.cli.group import group
from otel_vtrack.watch import Watcher

HOUR = 3_600_000
NOW = 1_790_000_000_000_000_000 + 3 * HOUR * 1_000_000


@pytest.fixture
def watcher(store, send):
    """A watch over two services, which did not look yet."""
    for number, service in enumerate(("shop", "quiet")):
        for version, first in (("1", 0), ("2", 2)):
            send(
                *(
                    {
                        "trace": number * 1000 + first * 100 + n,
                        "at": (first + n / 120) * HOUR,
                        "ms": 100 + n,
                        "status": 2 * (n % 2) * (service == "shop" and version == "2"),
                    }
                    for n in range(1, 121)
                ),
                service__name=service,
                service__version=version,
                deployment__environment__name="production",
            )
    return Watcher(store, 60, clock=lambda: NOW)


@pytest.fixture
def ask(store, watcher):
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        add_api(server, Backend(store, watched=watcher.board))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()

        def vtrack(*words):
            environment = {"OTEL_VTRACK_SERVER": f"127.0.0.1:{port}"}
            result = CliRunner().invoke(group, ["watch", *words], env=environment)
            assert result.exit_code == 0, result.output
            return result.stdout

        yield vtrack
        server.stop(None).wait(10)


def test_what_was_found_and_what_is_watched_are_shown(ask, watcher, monkeypatch):
    assert "has not checked yet" in ask("status")
    assert "No matching deployment was found" in ask("events")
    watcher.look()
    watcher.look()

    shown = ask("status")
    assert "shop 2, error_rate: 0 % -> 50 %" in shown
    assert shown.count("WORSE") == 1
    assert "nothing found" in shown
    [only] = json.loads(ask("status", "--service", "quiet", "--json"))["deployments"]
    assert (only["version"], only["baseline_version"]) == ("2", "1")
    assert only["candidate_count"] == "120"
    assert "No matching deployment" in ask("status", "--environment", "staging")

    shown = ask("events", "--since", "10000d")
    assert "error_rate" in shown
    assert "shop" in shown
    [event] = json.loads(ask("events", "--json"))["events"]
    assert event["event_time"] == "2026-09-21T17:13:20Z"
    assert event["difference"]["lower"] > event["threshold"]
    assert "No matching deployment was found" in ask("events", "--version", "1")

    sleeps = []

    def interrupted(seconds):
        sleeps.append(seconds)
        if len(sleeps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", interrupted)
    [line] = ask("events", "--follow", "--json").splitlines()
    assert json.loads(line) == event
    assert len(sleeps) == 2
    sleeps.clear()
    assert event["summary"] in ask("events", "--follow")


def test_one_that_is_gone_is_looked_at_once_more_and_then_no_more(send, watcher):
    def shop():
        watcher.look()
        [found] = [
            each
            for each in watcher.board().looks
            if (each.deployment.place.service_name, each.deployment.version) == ("shop", "2")
        ]
        return found

    production = {"deployment__environment__name": "production"}
    spans = [
        {"trace": 5000 + n, "at": (3.2 + n / 1e5) * HOUR, "ms": 101 + n % 120} for n in range(400)
    ]
    assert shop().deployment.end_time_ns is None
    send(*spans, service__version="1", **production)
    gone = shop()
    assert (gone.baseline_count, gone.deployment.end_time_ns is None) == (520, False)
    send({**spans[0], "trace": 9000}, service__version="1", **production)
    assert shop().baseline_count == 520
    assert shop().alarmed == {"error_rate"}
    # What came back is under watch in its place.
    kinds = [(each.deployment.kind, each.deployment.version) for each in watcher.board().looks]
    assert kinds == [("return", "1"), ("new_version", "2"), ("new_version", "2")]
