"""One server a module, and what plays a scenario against it; app.py says how to write one."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import repeat
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_vtrack.cli.group import group
from otel_vtrack.client import Client
from otel_vtrack.v1 import analysis_pb2, timeline_pb2

_APP = Path(__file__).parent / "app.py"
_TODAY = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
# Four days that are over, so that no span is from the future.
_START = _TODAY - timedelta(days=4)


@dataclass
class Played:
    """A scenario whose spans are all stored, and those who may be asked of it."""

    experiment: str
    client: Client
    server: str
    start: datetime

    def at(self, hours):
        """Return the time so many hours after the start."""
        return self.start + timedelta(hours=hours)

    def hours(self, timestamp):
        """Return the hours from the start to a time of an answer."""
        return (timestamp.ToDatetime(timezone.utc) - self.start) / timedelta(hours=1)

    def between(self, begin, end):
        """Return what restricts a question to these hours."""
        return {"start_time_from": self.at(begin), "start_time_until": self.at(end)}

    def compare(self, baseline, candidate, **asked):
        """Compare two versions and return the answer by metric."""
        asked = {"experiment": self.experiment, "environment": "production"} | asked
        found = self.client.compare_versions(baseline, candidate, **asked)
        return {each.metric: each for each in found.metrics}

    def by_route(self, baseline, candidate, **asked):
        """Return by route what `verdicts` says."""
        found = self.client.compare_versions(
            baseline, candidate, experiment=self.experiment, group_by=["route"], **asked
        )
        return {
            group.values["route"]: self.verdicts({each.metric: each for each in group.metrics})
            for group in found.message.groups
        }

    def verdicts(self, found):
        """Return by metric the verdicts of a comparison that do not say that all is as it was."""
        said = {name: _name(analysis_pb2.Verdict, each.verdict) for name, each in found.items()}
        quiet = ("no_evidence", "equivalent")
        return {name: verdict for name, verdict in said.items() if verdict not in quiet}

    def recovery(self, found):
        """Return the verdict on what a rollback did to a metric."""
        return _name(timeline_pb2.RecoveryVerdict, found.verdict)

    def differences(self, baseline, candidate, **asked):
        """List what tells two versions apart as tuples of change, kind and value."""
        found = self.client.list_differences(
            baseline, candidate, experiment=self.experiment, **asked
        )
        return {
            (
                _name(analysis_pb2.DifferenceChange, each.change),
                _name(analysis_pb2.DifferenceKind, each.kind),
                f"{each.key}={each.value}" if each.key else each.value,
            ): each
            for each in found.differences
        }

    def timeline(self, **asked):
        return self.client.get_timeline(experiment=self.experiment, **asked)

    def vtrack(self, *words, code=0):
        """Run the command line as a user would, and return what it prints."""
        words = (*words, "--experiment", self.experiment)
        ran = CliRunner().invoke(group, words, env={"OTEL_VTRACK_SERVER": self.server})
        assert ran.exit_code == code, ran.output
        return ran.stdout


def _name(enum, number):
    """Return the name of a value of an enum, without the enum's own."""
    return enum.Name(number).removeprefix(enum.Name(0).removesuffix("UNSPECIFIED")).lower()


@pytest.fixture(scope="module")
def server_options():
    """Return how the server is started; a module may have its own."""
    return ()


@pytest.fixture(scope="module")
def server(vtrack_on, tmp_path_factory, server_options):
    served = vtrack_on(tmp_path_factory.mktemp("scenarios") / "store", *server_options)
    yield served.grpc
    served.stop()


@pytest.fixture(scope="module")
def play(server, tmp_path_factory):
    """Play a scenario in processes of its own, wait until all of it is stored, and return it.

    It starts some days ago at midnight. With `until_now` it ends now, and its versions come one
    after another.
    """
    folder = tmp_path_factory.mktemp("played")

    def run(name, deployment, process):
        service, version, environment, instance = process
        ran = subprocess.run(
            [sys.executable, _APP, folder / f"{name}.json", *process],
            env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
            | {
                "OTEL_SERVICE_NAME": service,
                "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={service}-{version}-{instance}",
                "OTEL_BSP_MAX_QUEUE_SIZE": "1000000",
                "OTEL_VTRACK_ENDPOINT": f"http://{server}",
                "OTEL_VTRACK_EXPERIMENT": name,
                "OTEL_VTRACK_VERSION": version,
                "OTEL_VTRACK_ENVIRONMENT": environment,
                "OTEL_VTRACK_DEPLOYMENT_ID": deployment,
                "OTEL_VTRACK_GIT": "false",
                "OTEL_VTRACK_RAISE_ERRORS": "true",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        return int(ran.stdout)

    with Client(server) as client:

        def play(scenario, *, until_now=False):
            name, services = scenario["name"], scenario["services"]
            phases = [phase for service in services.values() for phase in service["phases"]]
            start = _START
            if until_now:
                last = max(phase["hours"][1] for phase in phases)
                start = datetime.now(timezone.utc) - timedelta(hours=last)
            (folder / f"{name}.json").write_text(
                json.dumps(scenario | {"start": int(start.timestamp()) * 1_000_000_000})
            )
            served = 0
            for service, told in services.items():
                processes = list(
                    dict.fromkeys(
                        (service, version, phase.get("environment", "production"), str(instance))
                        for phase in told["phases"]
                        for version in phase["versions"]
                        for instance in range(told.get("instances", 1))
                    )
                )
                deployments = [told.get("deployments", {}).get(each[1], "") for each in processes]
                # A service that is called comes after its callers, who have to know.
                with ThreadPoolExecutor(1 if until_now else 2) as pool:
                    served += sum(pool.map(run, repeat(name), deployments, processes))
            asked = sum(phase.get("traces", 0) for phase in phases)
            deadline = time.monotonic() + 30
            while (
                client.count_traces("status != 'IN_PROGRESS'", experiment=name) < asked
                or sum(each.trace_count for each in client.search_versions(experiment=name))
                < served
            ):
                assert time.monotonic() < deadline, f"of {asked} traces some are missing"
                time.sleep(0.05)
            assert served >= asked
            return Played(name, client, server, start)

        yield play
