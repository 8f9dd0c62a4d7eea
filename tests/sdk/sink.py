"""A real OTLP/gRPC and OTLP/HTTP receiver on loopback that keeps what it is sent.

Run as a program it would be a server; here it is loaded by the fixture `sink` in conftest.
"""

import http.server
import threading
import time
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Sink:
    """Receives on a free port of each protocol until closed."""

    def __init__(self):
        self.traces, self.logs, self.headers = [], [], []
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), self._server)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Logs(self), self._server)
        self.grpc_port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        handler = type("Handler", (_Http,), {"sink": self})
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http_port = self._http.server_address[1]
        # It looks this often whether it is to stop, and a test waits for it.
        serve = {"poll_interval": 0.02}
        threading.Thread(target=self._http.serve_forever, kwargs=serve, daemon=True).start()

    def close(self):
        self._server.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()

    def spans(self, count=1, seconds=20):
        """Return (name, attributes, resource attributes) of what came, once `count` spans have."""
        deadline = time.monotonic() + seconds
        while True:
            found = [
                (span.name, _plain(span.attributes), _plain(resource.resource.attributes))
                for request in list(self.traces)
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def attributes(self, name):
        """Return the attributes of the one span of that name."""
        found = self.spans()
        (attributes,) = [attributes for other, attributes, _ in found if other == name]
        return attributes

    def records(self):
        """Return (event name, attributes, has a span) of every log record."""
        return [
            (record.event_name, _plain(record.attributes), bool(record.span_id))
            for request in self.logs
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, sink):
        self._sink = sink

    def Export(self, request, context):  # noqa: N802 - the service's
        self._sink.traces.append(request)
        self._sink.headers.append(dict(context.invocation_metadata()))
        return trace_service_pb2.ExportTraceServiceResponse()


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, sink):
        self._sink = sink

    def Export(self, request, context):  # noqa: N802 - the service's
        self._sink.logs.append(request)
        return logs_service_pb2.ExportLogsServiceResponse()


class _Http(http.server.BaseHTTPRequestHandler):
    sink: Sink

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        ok = self.path == "/v1/traces"
        if ok:
            self.sink.traces.append(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            self.sink.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(200 if ok else 404)
        self.end_headers()

    def log_message(self, *args):
        """Be quiet."""


def _plain(attributes):
    values = ((it.key, MessageToDict(it.value)) for it in attributes)
    return {key: next(iter(value.values()), None) for key, value in values}
