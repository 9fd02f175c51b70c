"""The Kubernetes manifests say to the programs what these understand, and hold no copy of what is elsewhere."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from kubernetes.utils.quantity import parse_quantity
from mlflow.cli import cli as mlflow_cli
from mlflow.server.security_utils import HEALTH_ENDPOINTS
from ruamel.yaml import YAML

from galmorph.cli import parser
from galmorph.edge.backup import DUMPS
from galmorph.params import ServiceParams, checked
from galmorph.serving.app import create_app
from galmorph.tools.serve import service_values
from galmorph.tools.values import given_values
from infra.k8s.generate import generated
from tests.manifests import OVERLAYS, build, kubectl, of, one, pods, selected

#: What `kubectl apply` keeps of an object in an annotation must fit there.
ANNOTATIONS = 256 * 1024


@pytest.fixture(params=OVERLAYS)
def overlay(request):
    return request.param


@pytest.fixture
def documents(overlay):
    return build(overlay)


@pytest.fixture
def served(documents):
    """The pod of the service."""
    (found,) = (pod for pod in pods(documents) if pod.labels["app.kubernetes.io/name"] == "galmorph")
    return found


@pytest.fixture
def container(served):
    (found,) = served.spec["containers"]
    return found


@pytest.fixture
def started_with(documents, served, container, tmp_path) -> ServiceParams:
    """What the service makes of its command and its ConfigMap."""
    (volume,) = (volume for volume in served.spec["volumes"] if volume["name"] == "params")
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "params")
    data = one(documents, "ConfigMap", volume["configMap"]["name"])["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    program, *arguments = [*container["command"], *container["args"]]
    assert program == "galmorph"
    options = parser().parse_args(
        [each.replace(mount["mountPath"] + "/params", f"{tmp_path}/params") for each in arguments]
    )
    assert options.command == "serve"
    return checked(ServiceParams, service_values(given_values(options), options, "params"), "params")


def port_of(container, name):
    (found,) = (port["containerPort"] for port in container["ports"] if port["name"] == name)
    return found


def test_generated_files_are_those_of_their_sources(repository):
    for path, text in generated(repository).items():
        assert (repository / path).read_text() == text, "run: python -m infra.k8s.generate"


def test_the_service_starts_with_the_values_of_params_yaml_but_for_the_command(started_with, values, overlay):
    serve = started_with.serve.model_dump()
    changed = {"host": "0.0.0.0", "threads": started_with.serve.threads}
    if overlay != "dev":
        changed["keys"] = started_with.serve.keys
    assert serve == {**serve, **values["serve"], **changed}
    assert started_with.bands.model_dump(mode="json").keys() == values["acquire"]["cutouts"].keys()
    assert (started_with.min_side, started_with.blank_contrast) == (
        values["validate"]["min_side"],
        values["validate"]["blank_contrast"],
    )


def test_the_service_listens_where_it_is_asked(started_with, container):
    assert started_with.serve.host == "0.0.0.0"
    assert started_with.serve.port == port_of(container, "http")


def test_the_service_takes_as_many_threads_as_it_gets_processors(started_with, container):
    limit = int(container["resources"]["limits"]["cpu"])
    assert started_with.serve.threads == limit
    assert started_with.serve.workers == 1


def test_bodies_fit_into_the_temporary_folder(started_with, served):
    limits = started_with.serve.limits
    (volume,) = (volume for volume in served.spec["volumes"] if volume["name"] == "tmp")
    assert limits.requests * limits.body <= parse_quantity(volume["emptyDir"]["sizeLimit"])


def test_models_are_kept_where_the_pod_may_write(started_with, container):
    # ~ is the image's HOME, /cache.
    kept = started_with.serve.cache.replace("~", "/cache", 1)
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert any(Path(kept).is_relative_to(folder) for folder in writable)


def test_requests_under_way_are_answered_before_the_pod_is_killed(started_with, served, container):
    wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert served.spec["terminationGracePeriodSeconds"] > wait + started_with.serve.limits.stop_seconds


def test_keys_are_read_from_a_secret_in_production(started_with, container, overlay):
    if overlay == "dev":
        assert started_with.serve.keys is None
        return
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "keys")
    assert started_with.serve.keys == f"{mount['mountPath']}/keys"


def test_probes_ask_for_routes_that_there_are(started_with, container, documents):
    routes = {route.path for route in create_app(started_with, None).routes}
    probes = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["path"] for probe in probes.values()} <= routes
    assert probes["readinessProbe"]["path"] == "/readyz"
    # A service without a model is well: to start it again would not bring one.
    assert probes["livenessProbe"]["path"] == probes["startupProbe"]["path"] == "/healthz"
    assert all(port_of(container, probe["port"]) for probe in probes.values())
    monitored = [
        endpoint["path"] for found in of(documents, "ServiceMonitor") for endpoint in found["spec"]["endpoints"]
    ]
    assert set(monitored) <= routes


def test_mlflow_understands_its_command(documents):
    (pod,) = (pod for pod in pods(documents) if pod.labels["app.kubernetes.io/name"] == "mlflow")
    (found,) = pod.spec["containers"]
    program, command, *none = found["command"]
    assert (program, none) == ("mlflow", [])
    settings = one(documents, "ConfigMap", "mlflow-settings")["data"]
    options = mlflow_cli.commands[command].make_context(command, list(found["args"])).params
    assert options["host"] == "0.0.0.0"
    assert options["port"] == port_of(found, "http")
    assert options["app_name"] == "basic-auth"
    assert options["serve_artifacts"] is True
    # The probe names the pod's address as the host, which no other path would let pass.
    assert {found[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")} <= set(
        HEALTH_ENDPOINTS
    )
    (mount,) = (mount for mount in found["volumeMounts"] if mount["name"] == "auth")
    (name,) = one(documents, "ConfigMap", "mlflow-auth")["data"]
    assert settings["MLFLOW_AUTH_CONFIG_PATH"] == f"{mount['mountPath']}/{name}"
    # The ini file's address of the database is the server's own: PG* variables say where it is, once.
    assert (
        f"database_uri = {settings['MLFLOW_BACKEND_STORE_URI']}\n"
        in one(documents, "ConfigMap", "mlflow-auth")["data"][name]
    )


def test_the_backup_copies_what_was_dumped_before_to_where_it_stays():
    documents = build("prod")
    (pod,) = (pod for pod in pods(documents) if pod.name == "backup")
    settings = one(documents, "ConfigMap", "mlflow-settings")["data"]
    (dump,), (copy,) = pod.spec["initContainers"], pod.spec["containers"]
    program, *arguments = [expanded(each, settings) for each in [*copy["command"], *copy["args"]]]
    assert program == "galmorph"
    options = parser().parse_args(arguments)
    assert options.artifacts == settings["MLFLOW_ARTIFACTS_DESTINATION"]
    dumped = Path(next(each for each in dump["args"] if each.startswith("--file=")).removeprefix("--file="))
    assert options.dumps == Path(expanded(str(dumped), settings)).parent
    assert dumped.suffix == ".dump"
    folders = [{mount["mountPath"]: mount["name"] for mount in each["volumeMounts"]} for each in (dump, copy)]
    assert folders[0][str(options.dumps)] == folders[1][str(options.dumps)]
    (kept,) = (v for v in pod.spec["volumes"] if v["name"] == folders[1][options.backups])
    assert "persistentVolumeClaim" in kept


def test_a_backup_comes_back_by_the_commands_that_the_documentation_gives(repository):
    documents = build("prod")
    made, settings = one(documents, "CronJob", "restore"), one(documents, "ConfigMap", "mlflow-settings")["data"]
    assert made["spec"]["suspend"] is True
    text = (repository / "docs/operations.md").read_text()
    (command, name) = re.search(r"kubectl (set env --local -f - BACKUP=(\S+) -o yaml)", text).groups()
    assert "kubectl create job restore --from=cronjob/restore --dry-run=client -o yaml |" in text
    # What `create job --from` makes of it needs a cluster; it is the same pod.
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "restore"},
        "spec": made["spec"]["jobTemplate"]["spec"],
    }
    done = subprocess.run(
        [kubectl(), *command.split()], input=json.dumps(job), capture_output=True, text=True, check=True
    )
    (pod,) = pods([YAML(typ="safe").load(done.stdout)])
    # First the artifacts, then the database.
    copy, load = pod.containers()
    program, *arguments = [expanded(each, {**settings, "BACKUP": name}) for each in [*copy["command"], *copy["args"]]]
    assert program == "galmorph"
    options = parser().parse_args(arguments)
    assert (options.artifacts, options.artifacts_only) == (settings["MLFLOW_ARTIFACTS_DESTINATION"], True)
    (said,) = (variable["value"] for variable in load["env"] if variable["name"] == "BACKUP")
    target, dumped = (expanded(each, {**settings, "BACKUP": said}) for each in load["args"][-2:])
    assert target == f"--dbname={settings['PGDATABASE']}"
    assert Path(dumped) == options.backup / DUMPS / f"{settings['PGDATABASE']}.dump"
    (backup,) = (pod for pod in pods(documents) if pod.name == "backup")
    (kept,) = (volume for volume in backup.spec["volumes"] if "persistentVolumeClaim" in volume)
    for container in (copy, load):
        (mount,) = (each for each in container["volumeMounts"] if options.backup.parent == Path(each["mountPath"]))
        assert kept in [volume for volume in pod.spec["volumes"] if volume["name"] == mount["name"]]
    # By the same label both may reach the stores; by the same images both understand what lies there.
    assert pod.labels["galmorph/stores"] == backup.labels["galmorph/stores"]
    assert {each["image"] for each in pod.containers()} == {each["image"] for each in backup.containers()}


def expanded(text, settings):
    """As Kubernetes does with `$(NAME)`."""
    return re.sub(r"\$\((\w+)\)", lambda found: settings[found[1]], text)


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "dev"], indirect=True)
class TestMonitoring:
    def test_the_monitor_finds_the_service_alone_under_the_name_that_alerts_go_by(self, documents):
        (monitor,) = of(documents, "ServiceMonitor")
        found = [
            service
            for service in of(documents, "Service")
            if selected(monitor["spec"]["selector"], service["metadata"]["labels"])
        ]
        (service,) = found
        (rule,) = of(documents, "PrometheusRule")
        (down,) = (r for g in rule["spec"]["groups"] for r in g["rules"] if r.get("alert") == "GalmorphDown")
        assert f'job="{service["metadata"]["name"]}"' in down["expr"]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]

    def test_rules_have_the_fields_that_the_operator_takes(self, documents):
        (rule,) = of(documents, "PrometheusRule")
        assert set(rule["spec"]) == {"groups"}
        for group in rule["spec"]["groups"]:
            assert set(group) <= {"name", "interval", "rules"}
            for each in group["rules"]:
                assert set(each) <= {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}
                assert ("alert" in each) != ("record" in each)

    def test_prometheus_is_let_in(self, documents):
        policy = one(documents, "NetworkPolicy", "scrape")["spec"]
        (served,) = (pod for pod in pods(documents) if pod.labels["app.kubernetes.io/name"] == "galmorph")
        assert selected(policy["podSelector"], served.labels)
        (ingress,) = policy["ingress"]
        assert ingress["ports"] == [{"port": port_of(served.containers()[0], "http")}]

    def test_every_dashboard_is_there_whole(self, documents, repository):
        found = one(documents, "ConfigMap", "galmorph-dashboards")
        files = {path.name: path.read_text() for path in (repository / "infra/grafana/dashboards").glob("*.json")}
        assert found["data"] == files
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(json.dumps(found).encode()) < ANNOTATIONS


def test_namespaces_are_let_in_by_labels_that_the_documentation_gives(documents, repository):
    text = (repository / "docs/kubernetes.md").read_text()
    labels = {
        f"{name}={value}"
        for policy in of(documents, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
        for name, value in peer.get("namespaceSelector", {}).get("matchLabels", {}).items()
    }
    assert labels
    for label in labels:
        assert re.search(rf"kubectl label namespace \S+ {label}\b", text), label


def test_the_database_of_the_server_is_named_once():
    text = YAML(typ="safe").load(json.dumps(one(build("dev"), "StatefulSet", "postgres")))
    (found,) = text["spec"]["template"]["spec"]["containers"]
    (name,) = (variable for variable in found["env"] if variable["name"] == "POSTGRES_DB")
    assert name["valueFrom"]["configMapKeyRef"]["key"] == "PGDATABASE"
