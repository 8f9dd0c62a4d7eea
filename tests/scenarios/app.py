"""A simulated service that runs the SDK as a user would; how to write a scenario is below.

    python app.py SCENARIO.json SERVICE VERSION ENVIRONMENT INSTANCE

is one instance of one version of one service in one environment. It serves, in simulated time,
what the scenario gives it: each request is a trace whose spans are started and ended at set times,
so days pass in a second. Version, environment and deployment come from OTEL_VTRACK_* variables,
sessions and users from `otel_vtrack.tag`, feature flags from OpenFeature with our hook, and spans
leave by the exporter. It ends by printing how many requests it served.

How to write a scenario
=======================

A scenario is a JSON object; the tests write it as a dict and `play` it (conftest.py):

    {
      "name": "step",                  # the experiment, so unique
      "seed": 1,                       # 0 unless told; the same seed plays the same requests
      "services": {
        "shop": {
          "phases": [
            {"hours": [0, 24], "traces": 1000, "versions": {"2.3.1": 1}},
            {"hours": [24, 48], "traces": 1000, "versions": {"2.3.1": 0.1, "2.4.0": 0.9}}
          ]
        }
      },
      "effects": [{"version": "2.4.0", "slower": 1.3}]
    }

A **phase** is a range of hours after `start`, which `play` sets, and so many requests in it, each
of which goes to one of the versions by its share. It may have

- `environment`, production unless told; phases of other environments may be at the same time;
- `mix`: by version the shares of the routes, where they are not the routes' own;
- `flags`: by flag that its requests ask for, the shares of the variants. A user has the same
  variant as long as no share before it changes, as in a roll-out: name first what grows.

A **service** may have

- `routes`, ROUTES unless told: by route its `share`, its median `ms`, and `errors`, the share of
  requests that fail anyway (0.01 unless told);
- `users` (300), each with a session for every six hours, and `instances` (1) of each version:
  processes that divide the requests;
- `deployments`: the `deployment.id` of each version;
- `calls`: a service that every request calls once. That one has the `versions` of its phases and
  no `traces`: its requests carry the W3C trace context of the caller's. Name it after the caller,
  which fails when it fails.

An **effect** holds for requests that fit all of `service`, `version`, `environment`, `route`,
`flag` (as `"ranker=on"`) and `hours` that it names. It may make them

- `slower` by a factor, spent in the span `in` (`query index` unless told);
- slower and slower: `grows` is the factor at the end of its `hours`, from 1 at their beginning;
- fail: `fails` is the share that fails besides, with `message` and exception type `type`;
- `longer`: a factor of the tokens that the model writes.

What is not in an effect is equal for all versions. So a test names each effect as what was found,
and nothing else may have been. By chance something else is found in one of twenty seeds, that being
what p < 0.05 means: take another seed only after you have seen that the draw is such a one.
"""

import itertools
import json
import math
import random
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openfeature import api as openfeature
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

import otel_vtrack
from otel_vtrack.sdk import flags
from otel_vtrack.sdk.exporter import VtrackSpanExporter

ROUTES = {
    "/search": {"share": 6, "ms": 120},
    "/chat": {"share": 3, "ms": 300},
    "/pay": {"share": 1, "ms": 200},
}
MODEL = "gpt-4o-mini"
_MS = 1_000_000
_HOUR = 3_600_000 * _MS
_TIMEOUT = {"message": "shard {n} timed out", "type": "TimeoutError"}


@dataclass
class Request:
    """One request of one service; equal in all processes that draw it.

    Attributes:
        number: Unique among the requests of the service.
        at: Hours after the start of the scenario.
        instance: Which of the version's instances serves it.
    """

    service: str
    number: str
    at: float
    version: str
    environment: str
    instance: int
    route: str
    user: str
    session: str
    flags: dict[str, str]


@dataclass
class Outcome:
    """What serving a request comes to.

    Attributes:
        ms: How long each span takes by itself.
        error: Message and type if it fails.
        tokens: What the model read and wrote.
    """

    ms: dict[str, float]
    error: dict[str, str] | None
    tokens: tuple[int, int]


class World:
    """A scenario. Draws with the same seed are the same in each process."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.scenario = scenario
        self.start_ns = scenario["start"]
        self.seed = scenario.get("seed", 0)

    def chance(self, *names: object) -> random.Random:
        """Return a generator of its own for each list of names."""
        return random.Random(" ".join(map(str, (self.seed, *names))))

    def requests(self, service: str):
        """Draw the requests that come from outside."""
        for number, phase in enumerate(self.scenario["services"][service]["phases"]):
            begin, end = phase["hours"]
            for n in range(phase["traces"]):
                chance = self.chance(service, number, n)
                at = begin + (n + chance.random()) / phase["traces"] * (end - begin)
                user = f"u-{chance.randrange(self._service(service).get('users', 300))}"
                yield self._request(service, f"{number}.{n}", phase, chance, at=at, user=user)

    def called(self, service: str, request: Request) -> Request:
        """Return the request that one makes of another service."""
        phase = next(
            each
            for each in self._service(service)["phases"]
            if each["hours"][0] <= request.at < each["hours"][1]
            and each.get("environment", "production") == request.environment
        )
        chance = self.chance(service, request.number)
        return self._request(
            service, request.number, phase, chance, at=request.at, user=request.user
        )

    def _service(self, name: str) -> dict[str, Any]:
        return self.scenario["services"][name]

    def _request(self, service, number, phase, chance, *, at, user) -> Request:
        version = _draw(chance.random(), phase["versions"])
        routes = self._service(service).get("routes", ROUTES)
        usual = {name: route["share"] for name, route in routes.items()}
        return Request(
            service,
            number,
            at,
            version,
            phase.get("environment", "production"),
            chance.randrange(self._service(service).get("instances", 1)),
            _draw(chance.random(), phase.get("mix", {}).get(version, usual)),
            user,
            f"{user}-{int(at // 6)}",
            {
                flag: _draw(self.chance(flag, user).random(), shares)
                for flag, shares in phase.get("flags", {}).items()
            },
        )

    def outcome(self, request: Request) -> Outcome:
        """Say how long it takes and whether it fails; equal in the caller and the called."""
        route = self._service(request.service).get("routes", ROUTES)[request.route]
        chance = self.chance(request.service, request.number, "outcome")
        usual = route["ms"] * chance.lognormvariate(0, 0.25)
        usual *= self.chance(request.user, "pace").lognormvariate(0, 0.05)
        fails = chance.random() < route.get("errors", 0.01)
        read, written = chance.gauss(400, 40), chance.gauss(120, 20)
        ms = {"": usual * 0.2, "query index": usual * 0.3, f"chat {MODEL}": usual * 0.5}
        error = _TIMEOUT if fails else None
        # All else is drawn by now, so that an effect changes nothing but what it is about.
        for effect in self.scenario.get("effects", ()):
            if not _fits(effect, request):
                continue
            factor = effect.get("slower", 1.0)
            if "grows" in effect:
                begin, end = effect["hours"]
                factor *= 1 + (effect["grows"] - 1) * (request.at - begin) / (end - begin)
            where = effect.get("in", "query index")
            ms[where] = ms.get(where, 0) + usual * (factor - 1)
            written *= effect.get("longer", 1)
            if chance.random() < effect.get("fails", 0):
                error = error or {"message": effect["message"], "type": effect["type"]}
        if error:
            error = error | {"message": error["message"].format(n=chance.randrange(100, 1000))}
        return Outcome(ms, error, (round(read), round(written)))


def _draw(point: float, shares: dict[str, float]) -> str:
    """Return the name at a point from 0 to 1 of shares laid end to end."""
    ends = itertools.accumulate(shares.values())
    total = math.fsum(shares.values())
    return next(
        (n for n, end in zip(shares, ends, strict=True) if point * total < end), [*shares][-1]
    )


def _fits(effect: dict[str, Any], request: Request) -> bool:
    flag, _, variant = effect.get("flag", "").partition("=")
    begin, end = effect.get("hours", (-math.inf, math.inf))
    return (
        all(effect.get(name, known) == known for name, known in asdict(request).items())
        and (not flag or request.flags.get(flag) == variant)
        and begin <= request.at < end
    )


class Instance:
    """One running instance of a version, with the SDK set up."""

    def __init__(self, world: World, service: str, calls_to: Path) -> None:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(VtrackSpanExporter()))
        trace.set_tracer_provider(provider)
        otel_vtrack.install()
        flags.register()
        self.provider = provider
        self.tracer = trace.get_tracer("simulated")
        self.world = world
        self.callee = world.scenario["services"][service].get("calls")
        self.calls_to = calls_to
        self.calls: list[str] = []
        _roll_out(world.scenario["services"][service])

    def serve(self, request: Request, start_ns: int, parent=None) -> int:
        """Serve a request and return when it ended."""
        outcome = self.world.outcome(request)
        attributes = {"http.request.method": "POST", "http.route": request.route}
        with (
            otel_vtrack.tag(session=request.session, user=request.user),
            self._span(
                f"POST {request.route}", start_ns, outcome.error, SpanKind.SERVER, parent
            ) as span,
        ):
            span.set_attributes(attributes)
            known = EvaluationContext(request.user, dict(request.flags))
            for flag in request.flags:
                openfeature.get_client().get_string_value(flag, "off", known)
            now = start_ns + int(outcome.ms.pop("") * _MS)
            for name, ms in outcome.ms.items():
                # What fails is the first step, and what raised is on its span.
                now = self._step(name, now, ms, outcome)
            failed = bool(outcome.error)
            if self.callee:
                now, its_error = self._call(request, now)
                if its_error and not failed:
                    failed = True
                    span.set_status(StatusCode.ERROR, f"{self.callee} answered 500")
            span.set_attribute("http.response.status_code", 500 if failed else 200)
            span.end(now)
        return now

    def _step(self, name: str, start_ns: int, ms: float, outcome: Outcome) -> int:
        failed = outcome.error if name == "query index" else None
        with self._span(name, start_ns, failed) as span:
            if failed:
                attributes = {
                    "exception.type": failed["type"],
                    "exception.message": failed["message"],
                }
                span.add_event("exception", attributes, timestamp=start_ns)
            if name.startswith("chat "):
                read, written = outcome.tokens
                span.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": MODEL,
                        "gen_ai.usage.input_tokens": read,
                        "gen_ai.usage.output_tokens": written,
                    }
                )
            end_ns = start_ns + int(ms * _MS)
            span.end(end_ns)
        return end_ns

    def _call(self, request: Request, now: int) -> tuple[int, bool]:
        """Ask the other service: note down for its processes what HTTP would carry to them."""
        called = self.world.called(self.callee, request)
        outcome = self.world.outcome(called)
        end_ns = now + int(sum(outcome.ms.values()) * _MS) + 2 * _MS
        with self._span(f"POST {self.callee}", now, outcome.error, SpanKind.CLIENT) as span:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            self.calls.append(
                json.dumps({"request": asdict(called), "at": now + _MS, "headers": headers})
            )
            span.end(end_ns)
        return end_ns, bool(outcome.error)

    @contextmanager
    def _span(self, name, start_ns, error, kind=SpanKind.INTERNAL, parent=None):
        with self.tracer.start_as_current_span(
            name, parent, kind, start_time=start_ns, end_on_exit=False
        ) as span:
            if error:
                span.set_status(StatusCode.ERROR, error["message"])
            yield span

    def end(self) -> None:
        """Send what is left, and hand on the calls."""
        self.provider.shutdown()
        if self.calls:
            self.calls_to.write_text("\n".join(self.calls))


def _roll_out(service: dict[str, Any]) -> None:
    """Set up OpenFeature with the flags of a service; who asks brings the variant along."""
    variants: dict[str, set[str]] = {}
    for phase in service["phases"]:
        for flag, shares in phase.get("flags", {}).items():
            variants.setdefault(flag, set()).update(shares)

    def resolved(flag: str):
        def resolve(_, context):
            variant = context.attributes[flag]
            return FlagResolutionDetails(variant, variant=variant, reason=Reason.SPLIT)

        return resolve

    made = {
        flag: InMemoryFlag("off", {name: name for name in names}, context_evaluator=resolved(flag))
        for flag, names in variants.items()
    }
    openfeature.set_provider(InMemoryProvider(made))


def main(path: Path, service: str, version: str, environment: str, instance: int) -> None:
    """Serve all that is for this instance."""
    world = World(json.loads(path.read_text()))
    running = Instance(
        world,
        service,
        path.with_name(f"{service}-{version}-{environment}-{instance}-{path.stem}.calls"),
    )
    served = 0
    if any("traces" in phase for phase in world.scenario["services"][service]["phases"]):
        work = (
            (each, world.start_ns + int(each.at * _HOUR), None) for each in world.requests(service)
        )
    else:
        lines = (
            json.loads(line)
            for calls in sorted(path.parent.glob(f"*-{path.stem}.calls"))
            for line in calls.read_text().splitlines()
        )
        work = (
            (Request(**each["request"]), each["at"], propagate.extract(each["headers"]))
            for each in lines
            if each["request"]["service"] == service
        )
    for request, start_ns, parent in work:
        its = (request.version, request.environment, request.instance)
        if its == (version, environment, instance):
            running.serve(request, start_ns, parent)
            served += 1
    running.end()
    print(served)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5]))
