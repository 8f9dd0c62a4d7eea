"""Decides which traces to store, and removes the others from requests.

Traces first seen in the same round are decided together, in this order:

1. A trace with a failed or slow span is always kept, and represents only itself.
2. Other traces are kept if their randomness passes the threshold of the probability.
3. For each version, the traces with the greatest randomness are kept as well, as many as remain
   of its minimum. The version's threshold is then that of the first trace left out, and each
   trace that passed it represents as many as that threshold implies: a bottom-k sample, whose
   rank-conditioned estimate is unbiased (Cohen and Kaplan, "Summarizing data using bottom-k
   sketches", PODC 2007; Duffield, Lund and Thorup, "Priority sampling", JACM 2007).

A trace with several versions gets the lowest of their thresholds.
"""

import heapq
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from otel_vtrack.sample import randomness, views
from otel_vtrack.sample.settings import Sample
from otel_vtrack.sample.versions import ENVIRONMENT, SAYS, VERSION, Version, first, told, version_of
from otel_vtrack.wire import framing

ERROR: Final = "error"
SLOW: Final = "slow"
MINIMUM: Final = "minimum"
PROBABILITY: Final = "probability"
TOLD: Final = "told"
REASONS: Final = (ERROR, SLOW, MINIMUM, PROBABILITY, TOLD)

_STATUS_ERROR: Final = 2
_SERVER, _CONSUMER = 2, 5
# Flag bits: whether the span says if its parent is in another process, and whether it is.
_TELLS_REMOTE, _IS_REMOTE = 0x100, 0x200
# The first bytes of a span whose encoder wrote fields in order: field 1, 16 bytes.
_ID_FIRST: Final = b"\n\x10"
_NOTE: Final = struct.Struct("<16sdB")
_REMEMBERED: Final = 131_072
_MOST_VERSIONS: Final = 1_000
_MINUTE: Final = 60.0
_OTHERS: Final = Version("", "", "", "")


class Decision(NamedTuple):
    """The decision on a trace.

    Attributes:
        adjusted_count: How many traces it stands for; 0 if it is not stored.
        reason: One of REASONS.
    """

    adjusted_count: float
    reason: str


DROPPED: Final = Decision(0.0, PROBABILITY)
# Equal to it, but a different object: another process made this decision and counted it.
_DROPPED_BEFORE: Final = Decision(0.0, PROBABILITY)
_CERTAIN: Final = {reason: Decision(1.0, reason) for reason in (ERROR, SLOW)}
_AS_TOLD: Final = Decision(1.0, TOLD)


class _Trace:
    """A trace that is not decided yet."""

    __slots__ = ("certain", "randomness", "versions")

    def __init__(self, randomness: int) -> None:
        self.randomness = randomness
        self.certain = ""
        self.versions: tuple[Version, ...] = ()


@dataclass(slots=True)
class _Bucket:
    """What remains of a version's minimum; it is refilled over time."""

    left: float
    at: float
    largest: list[int] = field(default_factory=list[int])
    """The greatest randomness values of this round's traces, one more than remain."""

    seen: int = 0


Tally = dict[Decision, int]
"""Numbers of spans by decision."""


class Sampler:
    """Makes sampling decisions and remembers those on the most recent traces.

    Not thread-safe, except for `at_once` and `counts`.

    Args:
        settings: What to keep.
        clock: Returns monotonic time in seconds.
    """

    def __init__(self, settings: Sample, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._threshold = randomness.threshold(settings.probability)
        self._slow_ns = (
            int(settings.slow_seconds * 1e9) if settings.slow_seconds is not None else 1 << 64
        )
        self._open: dict[bytes, _Trace] = {}
        # Two generations: when the younger one is full, the older one is forgotten.
        self._decided: dict[bytes, Decision] = {}
        self._decided_before: dict[bytes, Decision] = {}
        self._noted: list[bytes] = []
        self._buckets: dict[Version, _Bucket] = {}
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._spans: dict[str, int] = dict.fromkeys(REASONS, 0)
        self._traces: dict[str, int] = dict.fromkeys(REASONS, 0)
        self._spans_out = 0
        self._traces_out = 0

    def observe(self, payload: bytes) -> tuple[list[bytes], int]:
        """Inspect the spans of a request.

        Returns:
            The traces seen for the first time, and the number of spans.
        """
        new: list[bytes] = []
        try:
            return new, self._observed(payload, new)
        except BaseException:
            # Forget them: the caller does not know them and will never decide on them.
            for trace_id in new:
                self._open.pop(trace_id, None)
            raise

    def _observed(self, payload: bytes, new: list[bytes]) -> int:
        count = 0
        for group in views.Request.FromString(payload).groups:
            if group.HasField("adjusted_count"):
                count += sum(len(scope.spans) for scope in group.scopes)
                continue
            said = told(group.resource.attributes)
            version = version_of(group.experiment, said)
            for scope in group.scopes:
                count += len(scope.spans)
                for span in scope.spans:
                    self._look(span, version, new)
        return count

    def _look(self, span: Any, version: Version, new: list[bytes]) -> None:
        trace_id: bytes = span.trace_id
        reason = ""
        if self.settings.keep_errors and span.status.code == _STATUS_ERROR:
            reason = ERROR
        flags: int = span.flags
        enters: bool = not span.parent_span_id or (
            bool(flags & _IS_REMOTE) if flags & _TELLS_REMOTE else span.kind in {_SERVER, _CONSUMER}
        )
        if enters and not reason and span.end - span.start >= self._slow_ns:
            reason = SLOW
        trace = self._open.get(trace_id)
        if trace is None:
            if (decision := self.decision(trace_id)) is not None:
                if reason and not decision.adjusted_count:
                    self._keep_rest(trace_id, reason, decision)
                return
            number = randomness.of_trace(trace_id, span.trace_state)
            new.append(trace_id)
            trace = self._open[trace_id] = _Trace(number)
        if reason and trace.certain != ERROR:
            trace.certain = reason
        if enters:
            version = _of_span(span, version)
            if version not in trace.versions:
                trace.versions += (version,)
        elif not trace.versions:
            # Where the trace enters is not known, and may never be.
            trace.versions = (version,)

    def _keep_rest(self, trace_id: bytes, reason: str, decision: Decision) -> None:
        """Keep a dropped trace's spans from now on; it is too late for the earlier ones."""
        self._decide(trace_id, _CERTAIN[reason])
        if decision is not _DROPPED_BEFORE:
            with self._counting:
                self._traces_out -= 1

    def decide(self, trace_ids: Iterable[bytes]) -> bytes:
        """Decide on traces that `observe` returned.

        Returns:
            Notes with which `recall` restores the decisions in another process.
        """
        uncertain: list[tuple[bytes, _Trace]] = []
        for trace_id in trace_ids:
            trace = self._open.pop(trace_id)
            if trace.certain:
                self._decide(trace_id, _CERTAIN[trace.certain])
            else:
                uncertain.append((trace_id, trace))
        thresholds = self._thresholds([trace for _, trace in uncertain])
        made: dict[tuple[int, str], Decision] = {}
        for trace_id, trace in uncertain:
            least = min(
                self._threshold, *(thresholds.get(each, self._threshold) for each in trace.versions)
            )
            if trace.randomness < least:
                self._decide(trace_id, DROPPED)
                continue
            key = least, PROBABILITY if trace.randomness >= self._threshold else MINIMUM
            if key not in made:
                made[key] = Decision(randomness.adjusted_count(least), key[1])
            self._decide(trace_id, made[key])
        noted, self._noted = self._noted, []
        return b"".join(noted)

    def _thresholds(self, traces: Iterable[_Trace]) -> dict[Version, int]:
        """Return the threshold that keeps each version's minimum, and use the minimum up."""
        most = self.settings.minimum_per_minute
        if not most or not self._threshold:
            return {}
        now = self._clock()
        round_: dict[Version, _Bucket] = {}
        known_as: dict[Version, Version] = {}
        for trace in traces:
            for version in {self._known_as(each, known_as, now) for each in trace.versions}:
                if (bucket := round_.get(version)) is None:
                    bucket = round_[version] = self._bucket(version, now, most)
                bucket.seen += 1
                if len(bucket.largest) <= int(bucket.left):
                    heapq.heappush(bucket.largest, trace.randomness)
                else:
                    heapq.heappushpop(bucket.largest, trace.randomness)
        found: dict[Version, int] = {}
        for version, bucket in round_.items():
            allowed = int(bucket.left)
            if bucket.seen <= allowed:
                found[version] = 0
                bucket.left -= bucket.seen
            else:
                # The randomness of the first trace left out, which must not pass.
                found[version] = bucket.largest[0] + 1
                bucket.left -= allowed
            bucket.largest, bucket.seen = [], 0
        return {version: found[known] for version, known in known_as.items()}

    def _known_as(self, version: Version, known_as: dict[Version, Version], now: float) -> Version:
        """Return the version that a minimum is counted under; above the limit they share one."""
        if version not in known_as:
            if version not in self._buckets and len(self._buckets) >= _MOST_VERSIONS:
                self._forget_versions(now)
            room = version in self._buckets or len(self._buckets) < _MOST_VERSIONS
            # Otherwise a client that sends a new version with every request would store everything.
            known_as[version] = version if room else _OTHERS
        return known_as[version]

    def _bucket(self, version: Version, now: float, most: int) -> _Bucket:
        bucket = self._buckets.get(version)
        if bucket is None:
            bucket = self._buckets[version] = _Bucket(float(most), now)
        bucket.left = min(float(most), bucket.left + (now - bucket.at) * most / _MINUTE)
        bucket.at = now
        return bucket

    def _forget_versions(self, now: float) -> None:
        """Forget versions whose minimum is full again, like that of a new one."""
        self._buckets = {
            version: bucket
            for version, bucket in self._buckets.items()
            if version is _OTHERS or now - bucket.at < _MINUTE
        }

    def apply(self, payload: bytes) -> tuple[bytes, Tally]:
        """Return the part of a fully decided request to store, and its spans by decision."""
        out: list[bytes] = []
        tally: Tally = {}
        for raw in views.Raw.FromString(payload).groups:
            group = views.RawGroup.FromString(raw)
            if group.HasField("adjusted_count"):
                spans = sum(len(scope.spans) for scope in group.scopes)
                tally[_AS_TOLD] = tally.get(_AS_TOLD, 0) + spans
                out.append(framing.length_delimited(1, raw))
                continue
            out += self._split(raw, group, tally)
        return b"".join(out), tally

    def _split(self, raw: bytes, group: Any, tally: Tally) -> Iterable[bytes]:
        """Split a ResourceSpans into one per adjusted count that is stored."""
        kept: dict[float, list[list[bytes]]] = {}
        scopes = len(group.scopes)
        last_id, decision = b"", DROPPED
        for number, scope in enumerate(group.scopes):
            for span in scope.spans:
                trace_id: bytes = (
                    span[2:18] if span[:2] == _ID_FIRST else views.Span.FromString(span).trace_id
                )
                if trace_id != last_id:
                    last_id, decision = trace_id, self._known(trace_id)
                tally[decision] = tally.get(decision, 0) + 1
                if count := decision.adjusted_count:
                    if count not in kept:
                        kept[count] = [[] for _ in range(scopes)]
                    kept[count][number].append(span)
        for count, spans in kept.items():
            part = views.RawGroup.FromString(raw)
            for number in range(scopes - 1, -1, -1):
                if spans[number]:
                    del part.scopes[number].spans[:]
                    part.scopes[number].spans.extend(spans[number])
                else:
                    del part.scopes[number]
            part.adjusted_count = count
            yield framing.length_delimited(1, part.SerializeToString())

    def at_once(self, payload: bytes) -> tuple[bytes, Tally]:
        """Decide on a request without waiting for the rest of its traces; thread-safe."""
        with self._lock:
            self.decide(self.observe(payload)[0])
            return self.apply(payload)

    def recall(self, notes: bytes) -> None:
        """Restore the decisions that `decide` returned in another process."""
        for trace_id, count, number in _NOTE.iter_unpack(notes):
            decision = Decision(count, REASONS[number]) if count else _DROPPED_BEFORE
            self._remember(trace_id, decision)

    def decision(self, trace_id: bytes) -> Decision | None:
        """Return the decision on a trace; None if there is none, or it was forgotten."""
        return self._decided.get(trace_id) or self._decided_before.get(trace_id)

    def _known(self, trace_id: bytes) -> Decision:
        if (decision := self.decision(trace_id)) is not None:
            return decision
        # Happens only if the decision was forgotten after it was made.
        if int.from_bytes(trace_id[-7:], "big") < self._threshold:
            return DROPPED
        return Decision(randomness.adjusted_count(self._threshold), PROBABILITY)

    def _decide(self, trace_id: bytes, decision: Decision) -> None:
        self._remember(trace_id, decision)
        self._noted.append(
            _NOTE.pack(trace_id, decision.adjusted_count, REASONS.index(decision.reason))
        )
        with self._counting:
            if decision.adjusted_count:
                self._traces[decision.reason] += 1
            else:
                self._traces_out += 1

    def _remember(self, trace_id: bytes, decision: Decision) -> None:
        if len(self._decided) >= _REMEMBERED // 2:
            self._decided_before, self._decided = self._decided, {}
        self._decided[trace_id] = decision

    def count(self, tally: Tally) -> None:
        """Count a tally from `apply`, once its spans are on the way to the tables."""
        with self._counting:
            for decision, spans in tally.items():
                if decision.adjusted_count:
                    self._spans[decision.reason] += spans
                else:
                    self._spans_out += spans

    def counts(self) -> dict[str, Any]:
        """Return what was and was not stored since this process started."""
        with self._counting:
            return {
                "stored_spans": dict(self._spans),
                "sampled_out_spans": self._spans_out,
                "stored_traces": {
                    reason: number for reason, number in self._traces.items() if reason != TOLD
                },
                "sampled_out_traces": self._traces_out,
            }


NOTES_BYTES: Final = _REMEMBERED * _NOTE.size
"""Bytes of the notes of `decide` worth keeping: more would be forgotten by `recall`."""


def _of_span(span: Any, version: Version) -> Version:
    """Return a span's version; its own version and environment override those of its Resource."""
    raw: bytes = span.SerializeToString()
    if not SAYS.search(raw):
        return version
    said = told(views.SpanAttributes.FromString(raw).attributes)
    return version._replace(
        version=first(VERSION, said) or version.version,
        environment=first(ENVIRONMENT, said) or version.environment,
    )
