"""What statuses mean, as the OTLP specification lists them, and how long a backend asks to wait."""

import time
from email.utils import formatdate

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from otel_vtrack.forward import outcome
from otel_vtrack.forward.outcome import Verdict
from otel_vtrack.wire.signals import TRACES

AGAIN = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
def test_a_status_of_grpc_is_tried_again_where_the_specification_says_so(code):
    found = outcome.of_grpc(code, "", {})
    assert (found.verdict is Verdict.AGAIN) == (code.name in AGAIN)
    asked = outcome.of_grpc(code, "", retry_info(0))
    assert (asked.verdict is Verdict.AGAIN) == (code.name in AGAIN | {"RESOURCE_EXHAUSTED"})


def retry_info(seconds):
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))
    status = status_pb2.Status()
    status.details.add().Pack(error_details_pb2.BadRequest())
    status.details.add().Pack(info)
    return {"grpc-status-details-bin": status.SerializeToString()}


def test_http_is_tried_again_after_four_statuses_only():
    again = {
        status
        for status in range(300, 600)
        if outcome.of_http(status, "", b"").verdict is Verdict.AGAIN
    }
    assert again == {429, 502, 503, 504}


def test_what_another_body_would_not_change_is_not_about_the_body():
    """A refused batch is sent again request by request only where that may help."""
    for status in (300, 399, 401, 403, 404, 405, 407, 415):
        assert not outcome.of_http(status, "", b"").about_body
    for status in (400, 408, 413, 416, 422, 500):
        assert outcome.of_http(status, "", b"").about_body
    assert outcome.of_grpc(grpc.StatusCode.INVALID_ARGUMENT, "", {}).about_body
    assert not outcome.of_grpc(grpc.StatusCode.UNAUTHENTICATED, "", {}).about_body


def test_how_long_a_backend_asks_to_wait():
    unavailable = grpc.StatusCode.UNAVAILABLE
    assert outcome.of_grpc(unavailable, "", retry_info(7)).pause_seconds == 7
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=500_000_000))
    python = {"google.rpc.retryinfo-bin": info.SerializeToString()}
    assert outcome.of_grpc(unavailable, "", python).pause_seconds == 0.5
    broken = {"grpc-status-details-bin": b"\xff"}
    assert outcome.of_grpc(unavailable, "", broken).pause_seconds == 0
    assert outcome.of_http(503, " 12 ", b"").pause_seconds == 12
    assert outcome.of_http(502, "12", b"").pause_seconds == 0
    date = formatdate(time.time() + 60, usegmt=True)
    assert 58 < outcome.of_http(429, date, b"").pause_seconds <= 60
    for nothing in ("", "soon", "-3", formatdate(0, usegmt=True)):
        assert outcome.of_http(503, nothing, b"").pause_seconds == 0


def test_an_answer_of_any_kind_is_one_line():
    assert outcome.of_http(400, "", status_pb2.Status(message="a\nb").SerializeToString()) == (
        outcome.of_http(400, "", b"a\n\x1bb")
    )
    assert len(outcome.of_http(500, "", b"x" * 100_000).reason) < 1_100
    assert outcome.taken(TRACES, b"<html>").verdict is Verdict.SENT
