"""The stage table and the workflow for Argo name the same stages, rows, values, inputs and outputs."""

import json
import re

import kubernetes_validate
import pytest
from hera.workflows import models as argo
from ruamel.yaml import YAML

from galmorph import __version__
from galmorph.cli import parser
from galmorph.stage import rows
from galmorph.stages import STAGES
from infra.argo.generate import GIVEN, WORK, generated
from infra.argo.wiring import placeholders_of
from tests.argo import FOLDER, PLACEHOLDER, load

#: What keys in the bucket begin with.
RUN = "{{workflow.parameters.prefix}}/{{workflow.name}}/{{workflow.uid}}/"


@pytest.fixture(scope="module")
def template():
    return load("workflow-template.yaml")


@pytest.fixture(scope="module")
def cron():
    return load("cron-workflow.yaml")


@pytest.fixture(scope="module")
def steps(template):
    return {one["name"]: one for one in template["spec"]["templates"]}


@pytest.fixture(scope="module")
def tasks(template, steps):
    return {one["name"]: one for one in steps[template["spec"]["entrypoint"]]["dag"]["tasks"]}


@pytest.fixture(scope="module")
def namespace():
    return list(YAML(typ="safe").load_all(FOLDER / "namespace.yaml"))


def ours(text: str) -> str:
    """Argo's placeholders of a path as STAGES writes them."""
    return re.sub(r"\{\{inputs\.parameters\.(\w+)\}\}", r"{\1}", text)


def places(artifacts: list) -> dict[str, str]:
    """The path of each artifact of the run in the working folder, by its name; the bucket has it at the same path."""
    found = {}
    for one in artifacts:
        if one.get("s3", {}).get("key", "").startswith(RUN):
            found[one["name"]] = ours(one["path"].removeprefix(f"{WORK}/"))
            assert ours(one["s3"]["key"].removeprefix(RUN)) == found[one["name"]]
    return found


@pytest.mark.parametrize("name", ["workflow-template.yaml", "cron-workflow.yaml"])
def test_files_are_those_that_are_generated(name):
    assert (FOLDER / name).read_text() == generated()[name], "run `python -m infra.argo.generate`"


@pytest.mark.parametrize(
    ("name", "model"), [("workflow-template.yaml", argo.WorkflowTemplate), ("cron-workflow.yaml", argo.CronWorkflow)]
)
def test_argos_models_know_every_field(name, model):
    manifest = load(name)
    assert model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_none=True) == manifest


def test_there_is_a_step_for_every_stage_in_the_same_order(template, steps, tasks):
    assert list(steps) == [template["spec"]["entrypoint"], "rows", *STAGES]
    assert [name for name in tasks if not name.startswith("rows-of-")] == list(STAGES)


@pytest.mark.parametrize("name", STAGES)
class TestStage:
    def test_command(self, name, steps):
        stage, container = STAGES[name], steps[name]["container"]
        row = ["{{inputs.parameters." + stage.each + "}}"] if stage.each else []
        assert (container["command"], container["args"]) == (["galmorph"], [name, *row, "--params", "params.yaml"])
        # The command line takes it.
        assert parser().parse_args(container["args"]).command == name

    def test_values(self, name, steps):
        """A step is given the whole of params.yaml: its sections are those of the stage."""
        (values,) = [one for one in steps[name]["inputs"]["artifacts"] if one["name"] == "params"]
        assert values == {
            "name": "params",
            "path": f"{WORK}/params.yaml",
            "raw": {"data": "{{workflow.parameters.params}}"},
        }

    def test_inputs(self, name, steps):
        stage = STAGES[name]
        found = places(steps[name]["inputs"]["artifacts"])
        for keyword, path in stage.inputs.items():
            assert found.get(keyword) == path or any(path.startswith(f"{folder}/") for folder in found.values())
        assert set(found.items()) <= set(stage.inputs.items())

    def test_no_input_lies_in_another(self, name, steps):
        found = sorted(places(steps[name]["inputs"]["artifacts"]).values())
        assert not any(one != other and one.startswith(f"{other}/") for one in found for other in found)

    def test_outputs(self, name, steps):
        assert places(steps[name]["outputs"]["artifacts"]) == dict(STAGES[name].outputs)

    def test_rows(self, name, tasks, steps):
        stage, task = STAGES[name], tasks[name]
        asked = [one["name"] for one in steps[name]["inputs"].get("parameters", [])]
        given = {one["name"]: one["value"] for one in task.get("arguments", {}).get("parameters", [])}
        assert given == {key: f"{{{{item.{key}}}}}" for key in asked}
        table = f"rows-of-{stage.each}"
        assert task.get("withParam") == (f"{{{{tasks.{table}.outputs.result}}}}" if stage.each else None)
        assert (table in task.get("dependencies", [])) == bool(stage.each)

    def test_waits_for_all_that_it_reads(self, name, tasks):
        """Each input is written by a stage that is waited for; none waits for a later one."""
        waited = _waited(tasks, name)
        order = list(STAGES)
        assert all(order.index(one) < order.index(name) for one in waited if one in order)
        for path in STAGES[name].inputs.values():
            for one in [path.replace("{images}", image) for image in ("data/raw/images", "data/variants/{variant}")]:
                writers = [
                    other
                    for other in order[: order.index(name)]
                    for output in STAGES[other].outputs.values()
                    if output == one or output.startswith(f"{one}/") or one.startswith(f"{output}/")
                ]
                assert writers, f"nobody writes {one}"
                assert set(writers) <= waited, f"{name} does not wait for {writers} with {one}"


def _waited(tasks: dict, name: str) -> set[str]:
    direct = set(tasks[name].get("dependencies", []))
    return direct.union(*(_waited(tasks, one) for one in direct))


def test_the_rows_have_what_the_steps_ask_for(capsys, repository, params):
    for table in ("variant", "experiment"):
        options = parser().parse_args(["rows", table, "--params", str(repository / "params.yaml")])
        options.run(options)
        found = json.loads(capsys.readouterr().out)
        stages = [stage for stage in STAGES.values() if stage.each == table]
        assert [row[table] for row in found] == rows(stages[0], params)
        assert all(set(placeholders_of(stage)) <= set(row) for stage in stages for row in found)


def test_what_galaxies_come_from_is_brought_to_where_the_values_say(steps, params):
    (given,) = [one for one in steps["acquire"]["inputs"]["artifacts"] if one["name"] == "given"]
    assert given["path"] == f"{WORK}/{GIVEN}"
    assert str(params.acquire.path) == GIVEN
    assert given["optional"] is True, "simulated galaxies come from nothing"


def test_every_placeholder_is_known(template, steps, tasks):
    spec = template["spec"]
    everywhere = {f"workflow.parameters.{one['name']}" for one in spec["arguments"]["parameters"]}
    everywhere |= {"workflow.name", "workflow.uid"}
    results = {f"tasks.{name}.outputs.result" for name in tasks}
    for step in steps.values():
        own = {f"inputs.parameters.{one['name']}" for one in step.get("inputs", {}).get("parameters", [])}
        items = {f"item.{key}" for key in ("variant", "experiment", "images")}
        used = set(PLACEHOLDER.findall(json.dumps(step)))
        assert used <= everywhere | own | (results | items if "dag" in step else set()), step["name"]


class TestSafety:
    def test_the_image_is_pinned_and_the_same_everywhere(self, template, steps):
        (image,) = [one["value"] for one in template["spec"]["arguments"]["parameters"] if one["name"] == "image"]
        assert image.endswith(f":{__version__}")
        assert {step["container"]["image"] for step in steps.values() if "container" in step} == {
            "{{workflow.parameters.image}}"
        }

    def test_nobody_is_root_and_nothing_can_be_written_but_what_is_declared(self, template, steps):
        pod = template["spec"]["securityContext"]
        assert (pod["runAsNonRoot"], pod["runAsUser"] > 0, pod["seccompProfile"]) == (
            True,
            True,
            {"type": "RuntimeDefault"},
        )
        for step in steps.values():
            if "container" in step:
                assert step["container"]["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }

    def test_everything_ends_and_is_cleaned_up(self, template, cron, steps):
        spec = template["spec"]
        assert spec["activeDeadlineSeconds"] > 0
        assert set(spec["ttlStrategy"]) == {"secondsAfterSuccess", "secondsAfterFailure"}
        assert (spec["podGC"]["strategy"], spec["archiveLogs"]) == ("OnPodSuccess", True)
        for step in steps.values():
            if "container" in step:
                assert 0 < step["activeDeadlineSeconds"] <= spec["activeDeadlineSeconds"]
                assert step["retryStrategy"]["limit"] > 0
                assert step["retryStrategy"]["backoff"]["factor"] >= 2
                # Counts from the first attempt's start: a training that is cut off later would not be tried again.
                assert "maxDuration" not in step["retryStrategy"]["backoff"]
                assert {"cpu", "memory"} == set(step["container"]["resources"]["limits"])
        assert cron["spec"]["concurrencyPolicy"] == "Forbid"
        assert cron["spec"]["workflowSpec"] == {"workflowTemplateRef": {"name": template["metadata"]["name"]}}

    def test_a_step_that_fails_says_why_on_argos_page(self, steps):
        """Argo takes over the container's termination message; without this policy there is none but the exit code."""
        policies = {step["container"].get("terminationMessagePolicy") for step in steps.values() if "container" in step}
        assert policies == {"FallbackToLogsOnError"}

    def test_training_gets_gpus_by_a_parameter(self, template, steps):
        assert {"name": "gpus", "value": "0"} in template["spec"]["arguments"]["parameters"]
        patch = json.loads(steps["train"]["podSpecPatch"])
        (container,) = patch["containers"]
        assert container["name"] == "main", "as Argo calls it"
        assert container["resources"]["limits"] == {"nvidia.com/gpu": "{{workflow.parameters.gpus}}"}
        assert [name for name, step in steps.items() if "podSpecPatch" in step] == ["train"]

    def test_training_alone_shows_its_metrics_at_the_port_that_its_label_names(self, steps):
        from galmorph.edge.training_metrics import PORT
        from pipelines import settings

        labels = {name: step.get("metadata", {}).get("labels", {}) for name, step in steps.items()}
        assert {name: found for name, found in labels.items() if settings.METRICS_LABEL in found} == {
            "train": {settings.METRICS_LABEL: settings.METRICS_PORT}
        }
        (asked,) = [one for one in steps["train"]["container"]["env"] if one["name"] == PORT]
        assert asked["valueFrom"] == {"fieldRef": {"fieldPath": f"metadata.labels['{settings.METRICS_LABEL}']"}}

    def test_secrets_are_named_and_not_written(self, steps, namespace):
        for step in steps.values():
            for variable in step.get("container", {}).get("env", []):
                assert "value" not in variable
        assert not any(one["kind"] == "Secret" for one in namespace)

    def test_mlflow_is_where_the_pipelines_for_kubeflow_look_for_it_too(self, steps):
        from pipelines import settings

        for step in steps.values():
            if "container" in step:
                config, secret = step["container"]["envFrom"]
                assert config["configMapRef"]["name"] == settings.TRACKING_CONFIG
                assert secret["secretRef"] == {"name": settings.TRACKING_SECRET, "optional": True}


class TestKubernetes:
    """What Kubernetes itself has schemas for: the pod that a step becomes, and what it runs in."""

    @pytest.mark.parametrize("name", ["rows", *STAGES])
    def test_a_step_is_a_valid_pod(self, name, template, steps):
        spec, step = template["spec"], steps[name]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"galmorph-training-{name}"},
            "spec": {
                "containers": [{"name": "main", **step["container"]}],
                "restartPolicy": "Never",
                "securityContext": spec["securityContext"],
                "serviceAccountName": spec["serviceAccountName"],
                "tolerations": step.get("tolerations", []),
                "volumes": spec["volumes"],
            },
        }
        kubernetes_validate.validate(pod, "1.32", strict=True)
        mounted = {mount["name"] for mount in step["container"]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}

    def test_what_it_runs_in_is_valid(self, namespace):
        assert namespace
        for manifest in namespace:
            kubernetes_validate.validate(manifest, "1.32", strict=True)

    def test_the_account_exists_and_may_report_results(self, template, namespace):
        by_kind = {one["kind"]: one for one in namespace}
        account = template["spec"]["serviceAccountName"]
        assert by_kind["ServiceAccount"]["metadata"]["name"] == account
        assert [one["name"] for one in by_kind["RoleBinding"]["subjects"]] == [account]
        assert by_kind["RoleBinding"]["roleRef"]["name"] == by_kind["Role"]["metadata"]["name"]
        (rule,) = by_kind["Role"]["rules"]
        assert rule == {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflowtaskresults"],
            "verbs": ["create", "patch"],
        }

    def test_the_bucket_is_one_that_argo_can_read(self, namespace):
        (found,) = [one for one in namespace if one["kind"] == "ConfigMap"]
        assert found["metadata"]["name"] == "artifact-repositories", "the name that Argo looks for"
        key = found["metadata"]["annotations"]["workflows.argoproj.io/default-artifact-repository"]
        repository = YAML(typ="safe").load(found["data"][key])
        model = argo.S3ArtifactRepository.model_validate(repository["s3"])
        assert model.model_dump(mode="json", by_alias=True, exclude_none=True) == repository["s3"]
        assert set(repository) == {"s3"}
