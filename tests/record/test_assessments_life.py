"""The whole life of assessments against a plain model, in any order and with repeats."""

import json
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_vtrack.errors import AlreadyExists, InvalidArgument, NotFound
from otel_vtrack.query import assessments as query
from otel_vtrack.query.assessments import (
    Assessment,
    AssessmentError,
    AssessmentType,
    Operation,
    SourceType,
)
from otel_vtrack.record import assessments as record
from otel_vtrack.wire import anyvalue

# Before and after the clock of whoever runs this: the apps' clocks are not ours.
EARLY_NS, LATE_NS = 1_700_000_000_000_000_000, 4_000_000_000_000_000_000
VALUES = st.sampled_from(["1", "0.5", "true", '"yes"', "[1]", '{"a":null}', "null"])
TEXTS = st.sampled_from(["", "a", "ß 🦜"])
METADATA = st.dictionaries(st.sampled_from(["k", "l", "m"]), TEXTS, max_size=2)


class Life(RuleBasedStateMachine):
    """One trace's assessments; `self.told` is what they should be."""

    store = writer = make_spans = None
    traces = 0

    @initialize()
    def begin(self):
        type(self).traces += 1
        self.trace_id = f"{self.traces:032x}"
        self.writer.write_traces(self.make_spans({"trace": self.traces}).SerializeToString())
        self.told = {}
        self.deleted = set()
        self.changes = {}
        self.events = []
        self.seen = 0

    def some(self, data, *, also=()):
        return data.draw(st.sampled_from([*self.told, *self.deleted, "nobody", *also]))

    def noted(self, operation, now):
        self.changes.setdefault(now.assessment_id, []).append((operation, now))

    def is_valid(self, assessment_id):
        return not any(
            each.overrides == assessment_id
            for other, each in self.told.items()
            if other != assessment_id
        )

    def expected(self, assessment_id):
        return replace(self.told[assessment_id], valid=self.is_valid(assessment_id))

    @rule(data=st.data(), value=VALUES, rationale=TEXTS, metadata=METADATA, own_id=st.booleans())
    def create(self, data, value, rationale, metadata, own_id):
        overrides = data.draw(st.sampled_from(["", *self.told, *self.deleted, "nobody"]))
        assessment_id = f"{self.trace_id}-{data.draw(st.integers(0, 3))}" if own_id else ""
        new = record.NewAssessment(
            trace_id=self.trace_id,
            assessment_name="made",
            value=value,
            rationale=rationale,
            metadata=metadata,
            overrides=overrides,
            assessment_id=assessment_id,
            source_type=SourceType.HUMAN,
        )
        if assessment_id in self.changes:
            with pytest.raises(AlreadyExists):
                record.create(self.store, new)
            return
        if overrides and overrides not in self.told:
            with pytest.raises(NotFound):
                record.create(self.store, new)
            return
        made = record.create(self.store, new)
        assert made.create_time_ns == made.last_update_time_ns > self.seen
        self.seen = made.create_time_ns
        model = Assessment(
            assessment_id=assessment_id or made.assessment_id,
            trace_id=self.trace_id,
            span_id="",
            experiment="shop",
            session_id="",
            assessment_name="made",
            assessment_type=AssessmentType.FEEDBACK,
            value=value,
            error=None,
            rationale=rationale,
            metadata=dict(metadata),
            source_type=SourceType.HUMAN,
            source_id="default",
            create_time_ns=self.seen,
            last_update_time_ns=self.seen,
            overrides=overrides,
            valid=True,
        )
        self.told[model.assessment_id] = model
        self.noted(Operation.CREATE, model)
        assert made == model

    @rule(data=st.data(), late=st.booleans(), value=VALUES, metadata=METADATA)
    def receive(self, data, late, value, metadata):
        number = len(self.events)
        assessment_id = f"{self.trace_id}-e{number}"
        overrides = data.draw(st.sampled_from(["", *self.told, *self.deleted, "nobody"]))
        at = (LATE_NS if late else EARLY_NS) + number
        self.events.append((at, assessment_id, value, metadata, overrides))
        self.deliver(number)
        self.told[assessment_id] = Assessment(
            assessment_id=assessment_id,
            trace_id=self.trace_id,
            span_id="",
            experiment="shop",
            session_id="",
            assessment_name="event",
            assessment_type=AssessmentType.EXPECTATION,
            value=value,
            error=None,
            rationale="",
            metadata=dict(metadata),
            source_type=SourceType.UNSPECIFIED,
            source_id="default",
            create_time_ns=at,
            last_update_time_ns=at,
            overrides=overrides,
            valid=True,
        )
        self.noted(Operation.CREATE, self.told[assessment_id])

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def receive_again(self, data):
        self.deliver(data.draw(st.integers(0, len(self.events) - 1)))

    def deliver(self, number):
        at, assessment_id, value, metadata, overrides = self.events[number]
        request = ExportLogsServiceRequest()
        group = request.resource_logs.add()
        group.resource.attributes.add(key="service.name", value=anyvalue.to_message("shop"))
        sent = group.scope_logs.add().log_records.add(
            event_name="gen_ai.evaluation.result",
            time_unix_nano=at,
            trace_id=bytes.fromhex(self.trace_id),
        )
        told = {
            "gen_ai.evaluation.name": "event",
            "vtrack.assessment.id": assessment_id,
            "vtrack.assessment.type": "expectation",
            "vtrack.assessment.value": value,
            "vtrack.assessment.metadata": json.dumps(metadata),
            "vtrack.assessment.overrides": overrides,
        }
        for key, text in told.items():
            sent.attributes.add(key=key, value=anyvalue.to_message(text))
        self.writer.write_logs(request.SerializeToString())

    @rule(
        data=st.data(),
        name=st.sampled_from([None, "renamed"]),
        outcome=st.tuples(st.none() | VALUES, st.booleans()),
        rationale=st.none() | TEXTS,
        metadata=METADATA,
    )
    def update(self, data, *, name, outcome, rationale, metadata):
        assessment_id = self.some(data)
        value, failed = outcome
        error = AssessmentError("E", "m", "s") if failed else None
        now = self.told.get(assessment_id)
        nothing = name is None and value is None and not failed and rationale is None
        wrong = (nothing and not metadata) or (failed and value is not None)
        fails = failed and now and now.assessment_type is AssessmentType.EXPECTATION

        def change():
            return record.update(
                self.store,
                assessment_id,
                assessment_name=name,
                value=value,
                error=error,
                rationale=rationale,
                metadata=metadata,
            )

        if now is None or wrong or fails:
            with pytest.raises(InvalidArgument if now is not None else (NotFound, InvalidArgument)):
                change()
            return
        made = change()
        kept = value is None and error is None
        # Not the time of one that says that it was made later than now.
        if made.last_update_time_ns < LATE_NS:
            self.seen = made.last_update_time_ns
        self.told[assessment_id] = replace(
            now,
            assessment_name=name or now.assessment_name,
            value=now.value if kept else value,
            error=now.error if kept else error,
            rationale=now.rationale if rationale is None else rationale,
            metadata=now.metadata | metadata,
            # A creation may say that it was later than now, by the clock of whoever sent it.
            last_update_time_ns=max(now.last_update_time_ns, made.last_update_time_ns),
        )
        self.noted(Operation.UPDATE, self.told[assessment_id])
        assert made == self.expected(assessment_id)

    @rule(data=st.data())
    def delete(self, data):
        assessment_id = self.some(data)
        record.delete(self.store, assessment_id)
        if assessment_id in self.told:
            gone = self.told.pop(assessment_id)
            self.deleted.add(assessment_id)
            self.noted(Operation.DELETE, gone)
        with pytest.raises(NotFound):
            query.get(self.store, assessment_id)

    @rule(data=st.data())
    def look(self, data):
        assessment_id = self.some(data)
        if assessment_id in self.told:
            assert query.get(self.store, assessment_id) == self.expected(assessment_id)

    def teardown(self):
        if not hasattr(self, "told"):
            return
        expected = {name: self.expected(name) for name in self.told}
        [found] = query.of_traces(self.store, [(self.trace_id, "")])
        assert {each.assessment_id: each for each in found} == expected
        assert [each.create_time_ns for each in found] == sorted(
            each.create_time_ns for each in found
        )
        # The engine folds on its own.
        searched = query.search(
            self.store, f"trace_id = '{self.trace_id}'", page_size=1000
        ).assessments
        assert {each.assessment_id: each for each in searched} == expected
        assert len(searched) == len(found) == len(expected)
        for assessment_id, changes in self.changes.items():
            told = query.history(self.store, assessment_id)
            assert [
                (each.operation, replace(each.assessment, valid=True)) for each in told
            ] == changes
        assert query.history(self.store, "nobody") == []


def test_assessments_live_as_the_model_says(store, writer, make_spans):
    machine = type(
        "Here", (Life,), {"store": store, "writer": writer, "make_spans": staticmethod(make_spans)}
    )
    run(machine, settings=settings(max_examples=15, stateful_step_count=15, deadline=None))
