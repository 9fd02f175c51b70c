"""The rules of infra/prometheus, by promtool, and by a real Prometheus that scrapes a real service."""

import json
import re
import subprocess
import time

import numpy as np
import pytest

from tests.exported import cutout, png
from tests.prometheus import binary, prometheus
from tests.service import running

FOLDER = "infra/prometheus"
#: What shall fire here in seconds; who runs it waits for minutes.
CONFIG = """
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [recording.yml, alerts.yml]
scrape_configs: [{{ job_name: galmorph, static_configs: [{{ targets: ["127.0.0.1:{port}"] }}] }}]
"""


@pytest.mark.parametrize(
    "command", [["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yml"]], ids=["config", "rules"]
)
def test_promtool_has_nothing_to_say(repository, command):
    done = subprocess.run(
        [binary("promtool"), *command], cwd=repository / FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do_and_is_tested(repository):
    from ruamel.yaml import YAML

    read = YAML(typ="safe").load
    alerts = [rule for group in read(repository / FOLDER / "alerts.yml")["groups"] for rule in group["rules"]]
    tested = {
        case["alertname"] for test in read(repository / FOLDER / "rules_test.yml")["tests"]
        for case in test.get("alert_rule_test", []) if case["exp_alerts"]
    }  # fmt: skip
    assert {alert["alert"] for alert in alerts} == tested
    assert all({"summary", "action", "runbook_url"} == set(alert["annotations"]) for alert in alerts)


def test_every_record_is_asked_for_in_a_test_or_by_another_rule(repository):
    from ruamel.yaml import YAML

    read = YAML(typ="safe").load
    rules = [
        rule
        for name in ("recording.yml", "alerts.yml")
        for group in read(repository / FOLDER / name)["groups"]
        for rule in group["rules"]
    ]
    tests = read(repository / FOLDER / "rules_test.yml")["tests"]
    asked = [rule["expr"] for rule in rules] + [c["expr"] for test in tests for c in test.get("promql_expr_test", [])]
    names = set(re.findall(r"\bgalmorph:[\w:]+", "\n".join(asked)))
    assert {rule["record"] for rule in rules if "record" in rule} == names


def test_every_metric_that_a_rule_reads_is_one_of_the_service(repository):
    from galmorph.serving.monitoring import Monitor

    rules = "\n".join((repository / FOLDER / name).read_text() for name in ("recording.yml", "alerts.yml"))
    exposed = {family.name for family in Monitor().registry.collect()}
    read = {re.sub("_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\bgalmorph_\w+", rules)}
    assert read <= exposed
    assert len(read) > 8


def test_each_pod_that_trains_is_asked_once_at_the_port_that_its_label_names(repository, tmp_path):
    """The relabelling of the PodMonitor, by Prometheus itself, on what Kubernetes tells of a pod's containers."""
    from ruamel.yaml import YAML

    from pipelines import settings

    yaml = YAML(typ="safe")
    found = yaml.load_all(repository / "infra/k8s/components/monitoring/monitor.yaml")
    (monitor,) = (document["spec"] for document in found if document["kind"] == "PodMonitor")
    assert monitor["selector"]["matchExpressions"] == [{"key": settings.METRICS_LABEL, "operator": "Exists"}]
    (endpoint,) = monitor["podMetricsEndpoints"]
    label = re.sub(r"\W", "_", settings.METRICS_LABEL)
    told = {"__meta_kubernetes_pod_ip": "10.1.2.3", f"__meta_kubernetes_pod_label_{label}": settings.METRICS_PORT}
    targets = [
        {"targets": [address], "labels": {**told, "__meta_kubernetes_pod_container_name": container}}
        for container, address in {"main": "10.1.2.3", "wait": "10.1.2.3:2746"}.items()
    ]
    relabelled = [
        {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in step.items()}
        for step in endpoint["relabelings"]
    ]
    job = {"job_name": "training", "static_configs": targets, "relabel_configs": relabelled}
    yaml.dump({"scrape_configs": [job]}, tmp_path / "prometheus.yml")
    done = subprocess.run(
        [binary("promtool"), "check", "service-discovery", "prometheus.yml", "training"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept = [target["labels"]["instance"] for target in json.loads(done.stdout) if target["labels"]]
    assert kept == [f"10.1.2.3:{settings.METRICS_PORT}"]


@pytest.fixture
def rules(tmp_path, repository):
    """The rules as they are, but for how long they wait."""
    for name in ("recording.yml", "alerts.yml"):
        text = (repository / FOLDER / name).read_text()
        (tmp_path / name).write_text(re.sub(r"for: \d+[mh]", "for: 1s", text))
    return tmp_path


def firing(api):
    alerts = api.get("/alerts").json()["data"]["alerts"]
    return {
        (each["labels"]["alertname"], each["labels"].get("quantity")): each["annotations"]["summary"]
        for each in alerts
        if each["state"] == "firing"
    }


def test_a_prometheus_scrapes_the_service_and_shifted_images_fire_the_drift_alert(rules, exported_model):
    serve = {
        "threads": 1, "precision": "f32", "drift": {"window": 60, "min_images": 40, "rate": 1000, "seconds": 0.5},
    }  # fmt: skip

    def send(service, images):
        for start in range(0, len(images), 20):
            files = [("images", ("a.png", png(image))) for image in images[start : start + 20]]
            assert service.client.post("/v1/predictions", files=files).status_code == 200

    with running(rules / "service", str(exported_model), serve) as service:
        service.until_ready()
        with prometheus(rules, CONFIG.format(port=service.port)) as api:

            def value(expression):
                found = api.get("/query", params={"query": expression}).json()["data"]["result"]
                return float(found[0]["value"][1]) if found else None

            def wait_for(true, seconds=40):
                end = time.monotonic() + seconds
                while not true():
                    assert time.monotonic() < end, (firing(api), api.get("/targets").text[:2000])
                    time.sleep(0.2)

            usual = [cutout(seed) for seed in range(60)]
            send(service, usual)
            wait_for(lambda: value("galmorph_drift_images") == 60)
            wait_for(lambda: value('galmorph:drift:excess{quantity="brightness"}') is not None)
            assert value('up{job="galmorph"}') == 1
            assert value("sum(galmorph_predictions_total)") == 60
            # The rules wait for a second: what was to fire has fired after some.
            time.sleep(3)
            assert firing(api) == {}

            send(service, [np.clip(image.astype(int) + 60, 0, 255).astype(np.uint8) for image in usual])
            sent = time.monotonic()
            wait_for(lambda: ("GalmorphDrift", "brightness") in firing(api))
            assert time.monotonic() - sent < 30
            assert "brightness of the images is unlike the test galaxies'" in firing(api)["GalmorphDrift", "brightness"]

            service.stop()
            wait_for(lambda: ("GalmorphDown", None) in firing(api))
