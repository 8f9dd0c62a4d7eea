"""The files of collector-config/ for deploying fit vtrack: its settings, times and paths."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from otel_vtrack import settings

FOLDER = Path(__file__).parents[2] / "collector-config"
ENVIRONMENTS = sorted((FOLDER / "environment").glob("*.env"))


def variables(text):
    """Those of an environment file, which a shell, Docker and systemd read alike."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[A-Z0-9_]+=[^\s'\"$`\\]+", line), line
            name, _, value = line.partition("=")
            found[name] = value
    return found


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.stem)
def test_each_environment_says_where_to_and_what_it_is(file):
    found = variables(file.read_text())
    port = urlsplit(found["OTEL_EXPORTER_OTLP_ENDPOINT"]).port
    assert (found["OTEL_EXPORTER_OTLP_PROTOCOL"], port) in {("grpc", 4317), ("http/protobuf", 4318)}
    assert found["OTEL_SERVICE_NAME"]
    attributes = dict(pair.split("=") for pair in found["OTEL_RESOURCE_ATTRIBUTES"].split(","))
    assert set(attributes) == {
        "service.version",
        "deployment.environment.name",
        "deployment.id",
        "vcs.ref.head.revision",
    }


def test_there_is_a_row_for_each_environment():
    rows = re.findall(
        r"^\| `(\w+)\.env`", (FOLDER / "environment/README.md").read_text(), re.MULTILINE
    )
    assert sorted(rows) == [file.stem for file in ENVIRONMENTS]
    assert set(rows) == {"python", "node", "java", "go", "dotnet", "ruby", "php", "rust"}


def manifests(name):
    return list(yaml.safe_load_all((FOLDER / "kubernetes" / name).read_text()))


def of_kind(name, kind):
    return next(each for each in manifests(name) if each["kind"] == kind)


@pytest.mark.parametrize(
    ("file", "kind", "place", "startup"),
    [
        # A migration takes as long as it takes; an application waits until telemetry is taken.
        ("gateway.yaml", "StatefulSet", "containers", "/livez"),
        ("sidecar.yaml", "Deployment", "initContainers", "/readyz"),
    ],
)
def test_kubernetes_runs_vtrack_as_its_settings_need(file, kind, place, startup, tmp_path):
    path = tmp_path / "vtrack.yaml"
    path.write_text(of_kind(file, "ConfigMap")["data"]["vtrack.yaml"])
    found = settings.load(file=path)
    pod = of_kind(file, kind)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= found.drain_timeout_seconds + 10
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    [vtrack] = [each for each in pod[place] if each["name"] == "vtrack"]
    assert vtrack["args"] == ["serve", "--config", "/etc/otel-vtrack/config/vtrack.yaml"]
    ports = {each["name"]: each["containerPort"] for each in vtrack["ports"]}
    for probe, answers in (("startup", startup), ("liveness", "/livez"), ("readiness", "/readyz")):
        get = vtrack[f"{probe}Probe"]["httpGet"]
        assert get["path"] == answers
        # Where the kubelet reaches it, in what is spoken there.
        host, port = settings.split_address(found.http)
        assert (host, ports[get["port"]]) == ("0.0.0.0", port)
        assert (get.get("scheme") == "HTTPS") == bool(found.tls_cert_file)
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounted = {each["mountPath"]: each for each in vtrack["volumeMounts"]}
    files = [found.tls_cert_file, found.tls_key_file, found.token_file]
    for each in found.all_destinations:
        files += each.files
    for needed in filter(None, files):
        mount = mounted[str(needed.parent)]
        assert mount["readOnly"]
        # A subPath would never be renewed.
        assert "subPath" not in mount
        assert "secret" in volumes[mount["name"]]
    written = [found.queue_folder]
    if found.store:
        written.append(Path(urlsplit(found.store_url).path))
        # The engine's, while it starts.
        written.append(Path("/tmp/x"))
    for folder in written:
        mount = mounted[next(p for p in map(str, (folder, *folder.parents)) if p in mounted)]
        assert not mount.get("readOnly")
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        locked = container["securityContext"]
        assert locked["readOnlyRootFilesystem"]
        assert not locked["allowPrivilegeEscalation"]
        assert locked["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_the_sidecar_speaks_only_to_its_pod_and_outlives_the_application(tmp_path):
    path = tmp_path / "vtrack.yaml"
    path.write_text(of_kind("sidecar.yaml", "ConfigMap")["data"]["vtrack.yaml"])
    found = settings.load(file=path)
    assert settings.is_loopback(found.grpc)
    assert found.mode == "forward only"
    pod = of_kind("sidecar.yaml", "Deployment")["spec"]["template"]
    assert pod["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    # Nor does a gateway that is away get the pod evicted, for a queue that outgrew its volume.
    needed = sum(
        len(each.signals) * (each.queue_max_bytes + (32 << 20)) + each.dead_letter_max_bytes
        for each in found.all_destinations
    )
    limits = pod["spec"]["initContainers"][0]["resources"]["limits"]
    queue = next(each for each in pod["spec"]["volumes"] if each["name"] == "vtrack-queue")
    room = [queue["emptyDir"]["sizeLimit"], limits["ephemeral-storage"]]
    assert needed <= min(int(each.removesuffix("Mi")) << 20 for each in room)
    policy = of_kind("sidecar.yaml", "NetworkPolicy")["spec"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == ["http"]
    # What is named in a value stands before it, or Kubernetes leaves it as it is.
    seen = set()
    known = {*pod["metadata"]["labels"], *pod["metadata"]["annotations"], "metadata.name"}
    for variable in pod["spec"]["containers"][0]["env"]:
        assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= seen
        seen.add(variable["name"])
        if "valueFrom" in variable:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            assert (re.findall(r"\['(.+)'\]", path) or [path])[0] in known


def test_docker_and_compose_give_it_time_and_little_else():
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["vtrack"]
    drain = settings.Settings.model_fields["drain_timeout_seconds"].default
    assert float(service["stop_grace_period"].removesuffix("s")) >= drain + 5
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert re.search(r"^USER 65532:65532$", dockerfile, re.MULTILINE)
    named = set(re.findall(r"OTEL_VTRACK_[A-Z_]+", dockerfile + str(service["environment"])))
    assert named <= {settings.variable(name) for name in settings.Settings.model_fields}
    copied = set(re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE))
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text()
    assert {f"!{name}" for line in copied for name in line.split()} == set(
        re.findall(r"^!.+$", ignored, re.MULTILINE)
    )


def test_systemd_gives_it_time_and_what_it_needs():
    unit = (FOLDER / "systemd" / "vtrack.service").read_text()
    drain = settings.Settings.model_fields["drain_timeout_seconds"].default
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1]) >= drain + 5
    named = set(re.findall(r"OTEL_VTRACK_[A-Z_]+", unit))
    assert named <= {settings.variable(name) for name in settings.Settings.model_fields}
    # It is one of @resources, and without it merges never give way (store/merging.py).
    filters = re.findall(r"^SystemCallFilter=(.+)$", unit, re.MULTILINE)
    assert filters[-1] == "sched_setscheduler"
    # The settings that its README installs keep data where the unit lets it write.
    folder = re.search(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)[1]
    assert f"store_url: chdb:///var/lib/{folder}\n" in (FOLDER / "vtrack-sidecar.yaml").read_text()
