"""Every call answers the same over gRPC and as JSON: one story, told to a server on each wire."""

import contextlib
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import grpc
import pytest
from google.protobuf import json_format

from otel_vtrack import api

TRACE = f"{1:032x}"
UNKNOWN = f"{99:032x}"
SHOP = {"experiment": "shop"}
A = {"service_name": "shop", "environment": "production", "deployment_id": "d-1"}

CHANGE = {"trace_tag": {"trace_id": TRACE, "key": "imported", "value": "yes", "changed_at": "1"}}

# In order, since the later ones see what the earlier ones did: method, request, code.
STORY = [
    ("VersionService/SearchVersions", {}, "OK"),
    ("VersionService/SearchVersions", {"filter": "version = '2.4.0'", "include_usage": True}, "OK"),
    ("VersionService/SearchVersions", {"filter": "verzion = '1'"}, "INVALID_ARGUMENT"),
    ("VersionService/GetVersion", {"version": "2.3.1"}, "OK"),
    ("VersionService/GetVersion", {"version": "9"}, "NOT_FOUND"),
    ("VersionService/UpdateVersion", {"version": "2.3.1", "note": "the good one"}, "OK"),
    ("VersionService/UpdateVersion", {"version": "9", "note": "none"}, "NOT_FOUND"),
    ("VersionService/SetVersionAlias", {"version": "2.3.1", "alias": "stable"}, "OK"),
    ("VersionService/SetVersionAlias", {"version": "9", "alias": "stable"}, "NOT_FOUND"),
    ("VersionService/SetVersionAlias", {"version": "2.3.1", "alias": "@"}, "INVALID_ARGUMENT"),
    ("VersionService/GetVersion", {"version": "@stable"}, "OK"),
    ("VersionService/DeleteVersionAlias", {"alias": "stable"}, "OK"),
    ("VersionService/DeleteVersionAlias", {"alias": "stable"}, "OK"),
    ("TraceService/SearchTraces", {}, "OK"),
    ("TraceService/SearchTraces", {"page_size": 1}, "OK"),
    ("TraceService/SearchTraces", {"filter": "version = '2.4.0'", **SHOP}, "OK"),
    ("TraceService/SearchTraces", {"filter": "versoin = '2.4.0'"}, "INVALID_ARGUMENT"),
    ("TraceService/SearchTraces", {"page_token": "x"}, "INVALID_ARGUMENT"),
    ("TraceService/CountTraces", {"filter": "status = 'ERROR'"}, "OK"),
    ("TraceService/CountTraces", {"filter": "status ="}, "INVALID_ARGUMENT"),
    ("TraceService/GetTraceHistogram", {"width": "3600s"}, "OK"),
    ("TraceService/GetTraceHistogram", {"width": "0.001s"}, "INVALID_ARGUMENT"),
    ("TraceService/SetTraceTag", {"trace_id": TRACE, "key": "reviewed", "value": "yes"}, "OK"),
    ("TraceService/SetTraceTag", {"trace_id": UNKNOWN, "key": "a", "value": "b"}, "NOT_FOUND"),
    ("TraceService/SetTraceTag", {"trace_id": "x", "key": "a"}, "INVALID_ARGUMENT"),
    ("TraceService/GetTrace", {"trace_id": TRACE}, "OK"),
    ("TraceService/GetTrace", {"trace_id": UNKNOWN}, "NOT_FOUND"),
    ("TraceService/DeleteTraceTag", {"trace_id": TRACE, "key": "reviewed"}, "OK"),
    ("TraceService/DeleteTraceTag", {"trace_id": "x", "key": "reviewed"}, "INVALID_ARGUMENT"),
    ("SpanService/SearchSpans", {"filter": "name = 'ask' AND duration > 1ms"}, "OK"),
    ("SpanService/SearchSpans", {"omit_otlp": True, "page_size": 2}, "OK"),
    ("SpanService/SearchSpans", {"order_by": ["nothing"]}, "INVALID_ARGUMENT"),
    (
        "AnalysisService/CompareVersions",
        {"baseline_version": "2.3.1", "candidate_version": "2.4.0"},
        "OK",
    ),
    (
        "AnalysisService/CompareVersions",
        {
            "baseline_version": "2.3.1",
            "candidate_version": "2.4.0",
            "metrics": [
                {"metric": "latency", "smallest_relative_change": 0.1},
                {"metric": "entry_latency", "direction": "DIRECTION_LESS"},
            ],
            "filter": "duration > 0ms",
            "group_by": ["route"],
            "stratify_by": ["none"],
            "baseline_start_time_until": "2100-01-01T00:00:00Z",
        },
        "OK",
    ),
    (
        "AnalysisService/CompareVersions",
        {
            "baseline_version": "2.3.1",
            "candidate_version": "2.4.0",
            "metrics": [{"metric": "assessment:unknown"}],
        },
        "NOT_FOUND",
    ),
    (
        "AnalysisService/CompareVersions",
        {"baseline_version": "2.3.1", "candidate_version": "9"},
        "NOT_FOUND",
    ),
    ("AnalysisService/CompareVersions", {}, "INVALID_ARGUMENT"),
    (
        "AnalysisService/ListDifferences",
        {"baseline_version": "2.3.1", "candidate_version": "2.4.0"},
        "OK",
    ),
    (
        "AnalysisService/ListDifferences",
        {"baseline_version": "2.3.1", "candidate_version": "2.4.0", "kinds": [99]},
        "INVALID_ARGUMENT",
    ),
    (
        "AssessmentService/CreateAssessment",
        {
            "assessment": {
                "assessment_id": "a-1",
                "trace_id": TRACE,
                "assessment_name": "relevance",
                "value": {"score": 0.5, "tags": ["x"]},
                "source_type": "SOURCE_TYPE_HUMAN",
                "source_id": "ada",
                "rationale": "short",
                "metadata": {"k": "v"},
            }
        },
        "OK",
    ),
    (
        "AssessmentService/CreateAssessment",
        {
            "assessment": {
                "assessment_id": "a-1",
                "trace_id": TRACE,
                "assessment_name": "relevance",
                "value": 1,
            }
        },
        "ALREADY_EXISTS",
    ),
    (
        "AssessmentService/CreateAssessment",
        {"assessment": {"trace_id": UNKNOWN, "assessment_name": "a", "value": 1}},
        "NOT_FOUND",
    ),
    (
        "AssessmentService/CreateAssessment",
        {"assessment": {"trace_id": TRACE, "value": 1}},
        "INVALID_ARGUMENT",
    ),
    (
        "AssessmentService/CreateAssessment",
        {
            "assessment": {
                "assessment_id": "a-2",
                "trace_id": TRACE,
                "assessment_name": "relevance",
                "value": True,
                "overrides": "a-1",
            }
        },
        "OK",
    ),
    ("AssessmentService/GetAssessment", {"assessment_id": "a-1"}, "OK"),
    ("AssessmentService/GetAssessment", {"assessment_id": "a-9"}, "NOT_FOUND"),
    (
        "AssessmentService/UpdateAssessment",
        {"assessment_id": "a-1", "value": None, "metadata": {"l": "w"}},
        "OK",
    ),
    ("AssessmentService/UpdateAssessment", {"assessment_id": "a-9", "value": 1}, "NOT_FOUND"),
    ("AssessmentService/SearchAssessments", {"order_by": ["create_time ASC"]}, "OK"),
    ("AssessmentService/SearchAssessments", {"filter": "nme = 'a'"}, "INVALID_ARGUMENT"),
    ("AssessmentService/DeleteAssessment", {"assessment_id": "a-2"}, "OK"),
    ("AssessmentService/DeleteAssessment", {"assessment_id": "a-2"}, "OK"),
    ("AssessmentService/ListAssessmentChanges", {"assessment_id": "a-2"}, "OK"),
    ("AssessmentService/ListAssessmentChanges", {"assessment_id": "a-9"}, "OK"),
    (
        "DeploymentService/CreateDeployment",
        {"deployment": {**A, "version": "2.3.1", "start_time": "2026-10-01T00:00:00Z"}},
        "OK",
    ),
    (
        "DeploymentService/CreateDeployment",
        {"deployment": {**A, "version": "2.3.1"}},
        "ALREADY_EXISTS",
    ),
    ("DeploymentService/CreateDeployment", {"deployment": {}}, "INVALID_ARGUMENT"),
    ("DeploymentService/GetDeployment", A, "OK"),
    ("DeploymentService/GetDeployment", {"deployment_id": "d-9"}, "NOT_FOUND"),
    (
        "DeploymentService/UpdateDeployment",
        {**A, "status": "DEPLOYMENT_STATUS_SUCCEEDED", "set_tags": {"run": "1"}},
        "OK",
    ),
    ("DeploymentService/UpdateDeployment", {"deployment_id": "d-9"}, "NOT_FOUND"),
    ("DeploymentService/SearchDeployments", {"environment": "production"}, "OK"),
    ("DeploymentService/SearchDeployments", {"page_token": "x"}, "INVALID_ARGUMENT"),
    ("TimelineService/GetTimeline", {"service_name": "shop"}, "OK"),
    ("TimelineService/GetTimeline", {"experiment": "nowhere"}, "OK"),
    (
        "TimelineService/GetTimeline",
        {"start_time_from": "0001-01-01T00:00:00Z"},
        "INVALID_ARGUMENT",
    ),
    (
        "TimelineService/GetTimeline",
        {"include_shares": True, "error_rate_margin": 0.02, "latency_margin": 0.1},
        "OK",
    ),
    ("TimelineService/GetTimeline", {"error_rate_margin": 1.5}, "INVALID_ARGUMENT"),
    ("TimelineService/ListProgressions", SHOP, "OK"),
    ("TimelineService/ListProgressions", {"environments": ["a", "a"]}, "INVALID_ARGUMENT"),
    ("FlagService/ListFlags", {"service_name": "shop"}, "OK"),
    ("FlagService/ListFlags", {"version": "@none"}, "NOT_FOUND"),
    ("FlagService/CompareVariants", {"flag": "ui", "version": "2.4.0"}, "OK"),
    ("FlagService/CompareVariants", {"flag": "ui", "version": "9"}, "NOT_FOUND"),
    ("FlagService/CompareVariants", {"flag": "ui"}, "INVALID_ARGUMENT"),
    (
        "FlagService/ListInteractions",
        {"baseline_version": "2.3.1", "candidate_version": "2.4.0"},
        "OK",
    ),
    ("FlagService/ListInteractions", {"baseline_version": "2.3.1"}, "INVALID_ARGUMENT"),
    ("FlagService/GetFlagExposure", {"flag": "ui", "width": "60s"}, "OK"),
    ("FlagService/GetFlagExposure", {"flag": "ui", "width": "0.5s"}, "INVALID_ARGUMENT"),
    ("FlagService/ListFlagChanges", {"window": "3600s"}, "OK"),
    ("FlagService/ListFlagChanges", {"version": "9"}, "NOT_FOUND"),
    ("WatchService/ListWatchEvents", {"environment": "production"}, "OK"),
    ("WatchService/ListWatchEvents", {"page_token": "x"}, "INVALID_ARGUMENT"),
    ("WatchService/ListWatchedDeployments", SHOP, "OK"),
    ("DeploymentService/DeleteDeployment", A, "OK"),
    ("DeploymentService/DeleteDeployment", A, "OK"),
    ("ExperimentService/CreateExperiment", {"experiment": "later", "tags": {"a": "b"}}, "OK"),
    ("ExperimentService/CreateExperiment", {"experiment": "later"}, "ALREADY_EXISTS"),
    ("ExperimentService/CreateExperiment", {}, "INVALID_ARGUMENT"),
    ("ExperimentService/UpdateExperiment", {**SHOP, "name": "The shop"}, "OK"),
    ("ExperimentService/UpdateExperiment", {**SHOP, "name": "later"}, "ALREADY_EXISTS"),
    ("ExperimentService/UpdateExperiment", {"experiment": "none"}, "NOT_FOUND"),
    ("ExperimentService/GetExperiment", {"experiment": "The shop"}, "OK"),
    ("ExperimentService/GetExperiment", {"experiment": "none"}, "NOT_FOUND"),
    ("ExperimentService/SearchExperiments", {"name_contains": "shop"}, "OK"),
    ("ExperimentService/SearchExperiments", {"page_size": 5000}, "INVALID_ARGUMENT"),
    ("ExportService/ExportTelemetry", {"signal": "TELEMETRY_SIGNAL_SPANS", **SHOP}, "OK"),
    ("ExportService/ExportTelemetry", {}, "INVALID_ARGUMENT"),
    ("ExportService/ExportChanges", {"page_size": 1}, "OK"),
    ("ExportService/ExportChanges", {"page_token": "x"}, "INVALID_ARGUMENT"),
    ("ExportService/ImportChanges", {"changes": [CHANGE]}, "OK"),
    ("ExportService/ImportChanges", {"changes": [{}]}, "INVALID_ARGUMENT"),
    *(
        ("ExportService/ImportChanges", {"changes": [change]}, "INVALID_ARGUMENT")
        for change in (
            {"trace_tag": {**CHANGE["trace_tag"], "key": ""}},
            {"trace_tag": {**CHANGE["trace_tag"], "trace_id": f"{TRACE[:-2]}  "}},
            {
                "version_alias": {
                    "alias": "stable",
                    "change_time": "1",
                    "change_id": str(UUID(int=1)),
                }
            },
        )
    ),
    ("TraceService/DeleteTraces", {"trace_ids": [TRACE], "dry_run": True}, "OK"),
    ("TraceService/DeleteTraces", {"trace_ids": [TRACE]}, "OK"),
    ("TraceService/DeleteTraces", {}, "INVALID_ARGUMENT"),
    ("ExperimentService/DeleteExperiment", {**SHOP, "dry_run": True}, "OK"),
    ("ExperimentService/DeleteExperiment", SHOP, "OK"),
    ("ExperimentService/DeleteExperiment", SHOP, "OK"),
]
METHODS = {method.path: method for service in api.SERVICES for method in service.methods}
# What is made new each time, or tells when.
VOLATILE = {"create_time", "last_update_time", "change_time", "change_id", "next_page_token"}


def test_the_story_has_every_call():
    told = {f"/otel_vtrack.v1.{name}" for name, _, code in STORY if code == "OK"}
    assert METHODS.keys() - told == set()


@pytest.fixture
def telemetry(make_spans):
    def flag(number):
        return {"vtrack.flag.ui": "on" if number % 2 else "off"}

    def usage(number):
        used = {"gen_ai.usage.input_tokens": number, "gen_ai.request.model": "gpt-4o"}
        return used | flag(number)

    old = [
        {"trace": n, "span": n, "name": "ask", "ms": 5 + n, "attributes": usage(n)}
        for n in range(1, 25)
    ]
    new = [
        {
            "trace": n,
            "span": n,
            "name": "ask",
            "ms": 9 + n,
            "status": 2 * (n % 2),
            "attributes": flag(n),
        }
        for n in range(25, 50)
    ]
    where = {"deployment__environment__name": "production"}
    return [
        make_spans(*old, service__version="2.3.1", **where),
        make_spans(*new, service__version="2.4.0", **where),
    ]


def scrubbed(value):
    if isinstance(value, dict):
        return {key: "" if key in VOLATILE else scrubbed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(each) for each in value]
    return value


def by_grpc(served):
    with grpc.insecure_channel(served.grpc) as channel:
        for name, fields, _ in STORY:
            method = METHODS[f"/otel_vtrack.v1.{name}"]
            call = channel.unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
            try:
                answer = call(json_format.ParseDict(fields, method.request()), timeout=60)
            except grpc.RpcError as error:
                yield error.code().name, error.details()
            else:
                yield "OK", json_format.MessageToDict(answer, preserving_proto_field_name=True)


def by_json(served):
    opened = http.client.HTTPConnection(served.http, timeout=60)
    with contextlib.closing(opened) as connection:
        for name, fields, _ in STORY:
            method = METHODS[f"/otel_vtrack.v1.{name}"]
            headers = {"content-type": "application/json"}
            connection.request("POST", method.path, json.dumps(fields), headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            if answer.status == 200:
                # Through the message, for JSON prints also what is empty.
                message = json_format.ParseDict(said, method.response())
                yield "OK", json_format.MessageToDict(message, preserving_proto_field_name=True)
            else:
                yield said["code"].upper(), said["message"]


def test_every_call_answers_the_same_on_both_wires(vtrack_on, telemetry, tmp_path):
    # At once, since each server has a process.
    folders = [tmp_path / "grpc", tmp_path / "json"]
    # A look of the watch at one of them alone would show.
    never = ("--watch-interval-seconds", "0")
    served = [vtrack_on(folder, *never, ready=False) for folder in folders]
    for each in served:
        each.wait_ready()
        for request in telemetry:
            each.export(request)
    with ThreadPoolExecutor() as pool:
        told = [
            pool.submit(list, tell(each))
            for tell, each in zip((by_grpc, by_json), served, strict=True)
        ]
    answers = zip(STORY, *(each.result() for each in told), strict=True)
    for (name, fields, code), over_grpc, over_json in answers:
        assert over_grpc[0] == code, (name, fields, over_grpc[1])
        assert scrubbed(over_json) == scrubbed(over_grpc), (name, fields)
    assert [each.stop() for each in served] == [0, 0]
