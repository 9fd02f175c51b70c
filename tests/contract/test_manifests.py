"""The Kubernetes manifests: valid, contained, complete, and about the program that there is."""

import os
import re

import kubernetes_validate
import pytest
from kubernetes.utils.quantity import parse_quantity

from galmorph import __version__
from tests.manifests import FOLDER, OVERLAYS, allowed, build, built, of, one, pods, selected

#: Kinds that operators bring: nothing here has their schemas, so their own tests look at them below.
BROUGHT = {
    "dev": set(),
    "prod": {"PodMonitor", "PrometheusRule", "ServiceMonitor"},
    "kserve": {"InferenceService", "PodMonitor", "PrometheusRule", "ServiceMonitor"},
}
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN")
PINNED = re.compile(r"[a-z0-9./-]+(:\d+\.[0-9a-z.-]+|@sha256:[0-9a-f]{64})")


@pytest.fixture(params=OVERLAYS)
def overlay(request):
    return request.param


@pytest.fixture
def documents(overlay):
    return build(overlay)


def named(kind, name):
    return f"{kind}/{name}"


def test_every_overlay_is_looked_at():
    assert sorted(BROUGHT) == OVERLAYS


def test_each_is_valid_for_the_version_that_the_namespace_names(overlay, documents):
    labels = one(documents, "Namespace", "galmorph")["metadata"]["labels"]
    version = labels["pod-security.kubernetes.io/enforce-version"].removeprefix("v")
    unknown = set()
    for document in documents:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(document["kind"])
    assert unknown == BROUGHT[overlay]


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "dev"], indirect=True)
def test_what_prometheus_operator_reads_is_what_its_schemas_know(overlay, documents):
    schemas = pytest.importorskip(
        "cloudcoil.models.prometheus_operator.v1", reason="the operator's schemas are not installed: run make setup"
    )
    for kind in BROUGHT[overlay] - {"InferenceService"}:
        (document,) = of(documents, kind)
        known = getattr(schemas, kind).model_validate(document)
        # What a schema does not know is no error, but lost.
        assert known.model_dump(mode="json", by_alias=True, exclude_unset=True) == document


def test_everything_is_in_the_one_namespace(documents):
    assert {
        document["metadata"].get("namespace") for document in documents if document["kind"] != "Namespace"
    } == {"galmorph"}  # fmt: skip
    labels = one(documents, "Namespace", "galmorph")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_images_are_pinned_and_ours_are_of_this_version(overlay, documents):
    images = {container["image"] for pod in pods(documents) for container in pod.containers()}
    assert all(PINNED.fullmatch(image) for image in images), images
    ours = {image for image in images if "/galmorph/" in image}
    assert {image.rpartition(":")[2] for image in ours} == {__version__}
    assert {image.rpartition(":")[0].rpartition("/")[2] for image in ours} == {
        "serve",
        "mlflow",
        *({"train-cpu"} if overlay != "dev" else ()),
    }


def test_the_overlay_of_the_documentation_names_other_images(repository, tmp_path):
    text = (repository / "docs/kubernetes.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    block = block.replace("../galmorph/", f"{os.path.relpath(repository, tmp_path)}/").replace("...", "0" * 64)
    (tmp_path / "kustomization.yaml").write_text(block)
    ours = [c["image"] for pod in pods(built(tmp_path)) for c in pod.containers() if "galmorph" in c["image"]]
    assert len(ours) == 3  # MLflow's is in two containers
    assert all(re.fullmatch(r"registry\.your\.org/galmorph/\w+@sha256:0{64}", image) for image in ours), ours


def test_pods_are_restricted(documents):
    for pod in pods(documents):
        whole = pod.spec["securityContext"]
        assert whole["runAsNonRoot"] is True
        assert whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(pod.spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
        assert not any("hostPath" in volume for volume in pod.spec["volumes"])
        assert pod.spec["automountServiceAccountToken"] is False
        for container in pod.containers():
            own = container["securityContext"]
            assert own == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_asks_for_and_is_held_to_processor_and_memory(documents):
    for pod in pods(documents):
        for container in pod.containers():
            asked, limits = (container["resources"][kind] for kind in ("requests", "limits"))
            assert {"cpu", "memory"} <= set(asked) == set(limits), (pod.name, container["name"])
            # The schema takes any text for a quantity.
            assert all(0 < parse_quantity(asked[name]) <= parse_quantity(limits[name]) for name in asked)


def test_folders_in_memory_or_on_the_node_have_a_size(documents):
    volumes = [volume for pod in pods(documents) for volume in pod.spec["volumes"]]
    assert all(parse_quantity(volume["emptyDir"]["sizeLimit"]) for volume in volumes if "emptyDir" in volume)


def test_service_links_are_off(documents):
    # That of the Service mlflow would be MLFLOW_PORT=tcp://..., which MLflow takes for its own setting.
    assert all(pod.spec["enableServiceLinks"] is False for pod in pods(documents))


def test_no_secret_is_in_them(documents):
    assert not of(documents, "Secret")
    for pod in pods(documents):
        for container in pod.containers():
            for variable in container.get("env", []):
                if SECRET.search(variable["name"]):
                    assert set(variable["valueFrom"]) == {"secretKeyRef"}, variable
    assert not [key for found in of(documents, "ConfigMap") for key in found["data"] if SECRET.search(key)]


def config_keys(pod):
    """Of ConfigMaps: names of those wanted whole, and pairs of name and key."""
    for volume in pod.spec["volumes"]:
        if "configMap" in volume:
            yield volume["configMap"]["name"], None
    for container in pod.containers():
        for source in container.get("envFrom", []):
            yield source["configMapRef"]["name"], None
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("configMapKeyRef"):
                yield reference["name"], reference["key"]


def secret_keys(pod):
    """Pairs of a Secret's name and a key; no key for one that is mounted."""
    for volume in pod.spec["volumes"]:
        if "secret" in volume:
            yield volume["secret"]["secretName"], None
    for container in pod.containers():
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], reference["key"]


def test_what_pods_refer_to_is_there(documents):
    configs = {found["metadata"]["name"]: found["data"] for found in of(documents, "ConfigMap")}
    accounts = {found["metadata"]["name"] for found in of(documents, "ServiceAccount")}
    for pod in pods(documents):
        for name, key in config_keys(pod):
            assert name in configs, (pod.name, name)
            assert key is None or key in configs[name], (name, key)
        assert pod.spec["serviceAccountName"] in accounts
        claimed = {
            claim["metadata"]["name"]
            for made in of(documents, pod.kind)
            if made["metadata"]["name"] == pod.name
            for claim in made["spec"].get("volumeClaimTemplates", [])
        }
        mounts = [mount["name"] for container in pod.containers() for mount in container.get("volumeMounts", [])]
        for volume in pod.spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert one(documents, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
        assert set(mounts) == claimed | {volume["name"] for volume in pod.spec["volumes"]}, pod.name


def test_every_secret_is_one_that_the_documentation_makes(documents, repository):
    text = (repository / "docs/kubernetes.md").read_text().replace("\\\n", " ")
    made = dict(re.findall(r"create secret (?:generic|tls) (\S+)(.*)", text))
    wanted = {pair for pod in pods(documents) for pair in secret_keys(pod)}
    wanted |= {(tls["secretName"], None) for found in of(documents, "Ingress") for tls in found["spec"]["tls"]}
    for name, key in wanted:
        assert name in made, name
        assert key is None or re.search(rf"--from-(literal|file)={key}=", made[name]), (name, key)


def test_selectors_find_pods_and_ports_have_names(documents):
    made = pods(documents)
    for kind in ("Deployment", "StatefulSet"):
        for found in of(documents, kind):
            (pod,) = (pod for pod in made if (pod.kind, pod.name) == (kind, found["metadata"]["name"]))
            assert selected(found["spec"]["selector"], pod.labels)
            # A selector that took another's pods would have two makers fight over them.
            assert sum(selected(found["spec"]["selector"], other.labels) for other in made) == 1
    for service in of(documents, "Service"):
        (pod,) = (pod for pod in made if selected({"matchLabels": service["spec"]["selector"]}, pod.labels))
        ports = {port["name"] for container in pod.containers() for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for budget in of(documents, "PodDisruptionBudget"):
        assert sum(selected(budget["spec"]["selector"], pod.labels) for pod in made) == 1
    for pod in made:
        for spread in pod.spec.get("topologySpreadConstraints", []):
            assert selected(spread["labelSelector"], pod.labels)
    for found in of(documents, "StatefulSet"):
        assert one(documents, "Service", found["spec"]["serviceName"])
    for found in of(documents, "Ingress"):
        for rule in found["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = one(documents, "Service", backend["name"])
                assert backend["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def test_the_autoscaler_alone_counts_the_service(documents, overlay):
    if overlay == "kserve":
        assert not of(documents, "HorizontalPodAutoscaler")  # KServe makes its own
        return
    (scaler,) = of(documents, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    found = one(documents, target["kind"], target["name"])
    assert "replicas" not in found["spec"]
    assert scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]


def test_policies_shut_every_pod_in_and_let_it_do_its_work(documents, overlay):
    shut = one(documents, "NetworkPolicy", "default-deny")["spec"]
    assert shut == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    by_app = {pod.labels["app.kubernetes.io/name"]: pod for pod in pods(documents)}
    ways = {("galmorph", "mlflow", 5000)}
    if overlay == "dev":
        ways |= {("mlflow", "postgres", 5432), ("mlflow", "artifact-store", 8333)}
    open_ = {
        (source, target, port["containerPort"])
        for source in by_app
        for target in by_app
        for container in by_app[target].containers()
        for port in container.get("ports", [])
        if allowed(documents, by_app[source], by_app[target], port["containerPort"])
    }
    assert open_ == ways
    for policy in of(documents, "NetworkPolicy"):
        assert any(selected(policy["spec"]["podSelector"], pod.labels) for pod in by_app.values()), policy["metadata"]


def test_where_mlflow_and_the_service_look_something_answers(documents, overlay):
    def port(name):
        (found,) = one(documents, "Service", name)["spec"]["ports"]
        return found["port"]

    settings = one(documents, "ConfigMap", "mlflow-settings")["data"]
    (served,) = (pod for pod in pods(documents) if pod.labels["app.kubernetes.io/name"] == "galmorph")
    (tracking,) = (v["value"] for v in served.containers()[0]["env"] if v["name"] == "MLFLOW_TRACKING_URI")
    assert tracking == f"http://mlflow:{port('mlflow')}"
    assert tracking.removeprefix("http://") in settings["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    if overlay == "dev":
        assert port(settings["PGHOST"]) == 5432  # libpq's own
        assert settings["AWS_ENDPOINT_URL_S3"] == f"http://artifact-store:{port('artifact-store')}"
    else:
        assert settings["PGHOST"].endswith(".example.org")
        assert settings["PGSSLMODE"] == "require"


def test_kserve_runs_the_very_pod_of_the_deployment():
    deployed = one(build("prod"), "Deployment", "galmorph")["spec"]["template"]["spec"]
    scaler = one(build("prod"), "HorizontalPodAutoscaler", "galmorph")["spec"]
    served = one(build("kserve"), "InferenceService", "galmorph-kserve")["spec"]
    assert served["predictor"] == {
        **deployed,
        "containers": [{**deployed["containers"][0], "name": "kserve-container"}],
        "minReplicas": scaler["minReplicas"],
        "maxReplicas": scaler["maxReplicas"],
        "scaleMetric": "cpu",
        "scaleTarget": scaler["metrics"][0]["resource"]["target"]["averageUtilization"],
    }
    rest = [named(d["kind"], d["metadata"]["name"]) for d in build("prod")]
    gone = {named("Deployment", "galmorph"), named("HorizontalPodAutoscaler", "galmorph")}
    came = {named("InferenceService", "galmorph-kserve")}
    assert {named(d["kind"], d["metadata"]["name"]) for d in build("kserve")} == {*rest} - gone | came


def test_every_file_is_used():
    text = "".join(path.read_text() for path in FOLDER.rglob("kustomization.yaml"))
    others = [
        path
        for path in FOLDER.rglob("*")
        if path.suffix in (".yaml", ".env", ".ini") and path.name != "kustomization.yaml"
    ]
    assert others
    assert [path for path in others if path.name not in text] == []
