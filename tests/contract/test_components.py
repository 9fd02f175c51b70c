"""The stage table and the components of the Kubeflow pipelines: names, sections, inputs, outputs."""

import inspect
import re
import subprocess
import sys

import pytest
import yaml

import components
from galmorph import params as p
from galmorph.edge.training_metrics import PORT
from galmorph.params import Params
from galmorph.stages import STAGES
from pipelines import settings
from pipelines.compile import FOLDER, PIPELINES, compiled

#: Artifacts that show something of a stage's results, beside its outputs.
VIEWS = {"system.Metrics", "system.ClassificationMetrics", "system.HTML", "system.Markdown"}
#: What stands for a folder that several stages, or a stage's rows, write into; and for images of any variant.
COLLECTED = {
    "data/variants": {"variants"},
    "{images}": {"raw", "variants"},
    "data/variants/{variant}.json": {"variants"},
}


#: Components that take moments, and fail for what they were given alone.
ONCE = {"check-params", "split", "list-experiments"}


def specification(name: str):
    return getattr(components, name).component_spec


def artifacts(slots) -> dict[str, str]:
    return {key: slot.type.partition("@")[0] for key, slot in (slots or {}).items() if slot.type.startswith("system.")}


def parameters(name: str) -> set[str]:
    return set(specification(name).inputs) - set(artifacts(specification(name).inputs))


def expected_inputs(path: str, stage) -> set[str]:
    """Name the components' inputs that bring what a stage reads at a path: what others made, and how often."""
    if path in COLLECTED:
        return COLLECTED[path]
    found = set()
    for maker in STAGES.values():
        for keyword, made in maker.outputs.items():
            if made == path:
                found.add(keyword)
            elif re.fullmatch(re.escape(path) + r"/\{experiment\}(\.json)?", made):
                found.add(f"{keyword}s")
    return found


def test_every_stage_is_a_component():
    assert set(STAGES) <= set(components.__all__)
    for name in components.__all__:
        assert specification(name).name == name.replace("_", "-")


@pytest.mark.parametrize("name", STAGES)
class TestStage:
    def test_inputs(self, name):
        expected = set().union(*(expected_inputs(path, STAGES[name]) for path in STAGES[name].inputs.values()))
        assert set(artifacts(specification(name).inputs)) == expected

    def test_outputs(self, name):
        made = artifacts(specification(name).outputs)
        assert set(STAGES[name].outputs) <= set(made)
        assert {made[key] for key in set(made) - set(STAGES[name].outputs)} <= VIEWS

    def test_sections(self, name):
        sections = {f"{section.partition('.')[0]}_params" for section in STAGES[name].sections}
        row = {"experiment": {"experiment", "variant"}, "variant": {"variant"}, None: set()}[STAGES[name].each]
        assert parameters(name) == sections | row

    def test_it_hands_its_own_name_and_artifacts_on(self, name):
        """One call, with everything that the component is given: nothing else is in its body."""
        # Behind the docstring, whose words are no calls.
        body = inspect.getsource(getattr(components, name).python_func).split('"""')[2]
        assert f'"{name}"' in body
        for key in {*artifacts(specification(name).inputs), *artifacts(specification(name).outputs)}:
            assert re.search(rf"\b{key}\b", body), key
        assert not re.search(r"\b(if|for|while|try)\b", body)


@pytest.mark.parametrize("name", components.__all__)
def test_every_component_runs_in_our_image_and_installs_nothing(name):
    container = specification(name).implementation.container
    assert re.search(r"/train-cpu:", container.image)
    assert "pip install" not in " ".join(container.command)


def test_the_values_of_a_run_are_checked_whole():
    sections = {field.alias or key for key, field in Params.model_fields.items()}
    assert parameters("check_params") == {f"{section}_params" for section in sections}


@pytest.fixture(scope="module", params=PIPELINES)
def pipeline(request):
    """A pipeline's name, and what was compiled of it now."""
    return request.param, compiled(PIPELINES[request.param])


def test_what_is_kept_is_what_compiles(repository, tmp_path):
    # By itself: other libraries of this process change how strings are written as YAML.
    subprocess.run([sys.executable, "-m", "pipelines.compile", "--into", tmp_path], cwd=repository, check=True)
    for name in PIPELINES:
        kept, made = (folder / f"{name}.yaml" for folder in (FOLDER, tmp_path))
        assert kept.read_text() == made.read_text(), "run python -m pipelines.compile"


def test_parameters_of_a_pipeline_are_the_sections_with_the_values_of_params_yaml(pipeline, values):
    from galmorph.cluster.values import carried

    declared = next(yaml.safe_load_all(pipeline[1]))["root"]["inputDefinitions"]["parameters"]
    sections = carried(values)
    found = {key: one["defaultValue"] for key, one in declared.items() if key in sections}
    assert found == {key: sections[key] for key in found}
    assert set(found) == ({"predict", "serve", "acquire", "validate"} if pipeline[0] == "prediction" else set(sections))
    assert all(one.get("description") for one in declared.values())


def executors(text: str) -> dict:
    return next(yaml.safe_load_all(text))["deploymentSpec"]["executors"]


def tasks(text: str) -> dict:
    """Every task of every group, by its component."""
    whole = next(yaml.safe_load_all(text))
    groups = [whole["root"], *whole["components"].values()]
    found = [task for group in groups for task in group.get("dag", {}).get("tasks", {}).values()]
    return {task["componentRef"]["name"]: task for task in found}


def test_what_must_not_come_from_the_cache_does_not(pipeline):
    never = {"acquire", "pull-data", "register", "gate", "promote", "predict", "report-outcome", "begin-study"}
    never |= {"join-study", "finish-study"}
    for component, task in tasks(pipeline[1]).items():
        name = component.removeprefix("comp-")
        if name in never:
            assert not task.get("cachingOptions", {}).get("enableCache"), name
        elif "taskInfo" in task and f"exec-{name}" in executors(pipeline[1]):
            assert task["cachingOptions"]["enableCache"], name


def test_every_pod_has_a_limit_a_time_out_and_another_chance(pipeline):
    specification, platform = yaml.safe_load_all(pipeline[1])
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label, executor in specification["deploymentSpec"]["executors"].items():
        if label == "exec-report-outcome":
            continue
        assert set(executor["container"]["resources"]) >= {
            "resourceCpuRequest", "resourceCpuLimit", "resourceMemoryRequest", "resourceMemoryLimit",
        }, label  # fmt: skip
        resources = executor["container"]["resources"]
        # The limit is what a pod finds out how many processes and threads to start by.
        assert resources["resourceCpuLimit"] == resources["resourceCpuRequest"], label
        assert int(placed[label]["activeDeadlineSeconds"]) > 0, label
        task = tasks(pipeline[1])[label.replace("exec-", "comp-")]
        if label.removeprefix("exec-") in ONCE:
            assert "retryPolicy" not in task, label
            continue
        retry = task["retryPolicy"]
        assert retry["maxRetryCount"] > 0
        assert retry["backoffDuration"] != "0s"


def test_groups_are_handed_what_their_tasks_are_placed_by(pipeline):
    """The compiler overlooks what resources are set by, and a cluster then does not find it."""
    whole = next(yaml.safe_load_all(pipeline[1]))
    for name, group in whole["components"].items():
        known = set(group.get("inputDefinitions", {}).get("parameters", {}))
        for task in group.get("dag", {}).get("tasks", {}).values():
            for one in task.get("inputs", {}).get("parameters", {}).values():
                if "componentInputParameter" in one:
                    assert one["componentInputParameter"] in known, name


def test_a_model_can_have_a_gpu(pipeline):
    if pipeline[0] == "prediction":
        pytest.skip("it answers on CPUs")
    for name in ("train", "evaluate", "robustness", "explain", "join-study"):
        resources = executors(pipeline[1])[f"exec-{name}"]["container"]["resources"]
        assert "gpu_type" in resources["accelerator"]["resourceType"]
        assert "gpus" in resources["accelerator"]["resourceCount"]


def test_training_and_explaining_go_on_after_their_pod_was_taken_away(pipeline):
    _, platform = yaml.safe_load_all(pipeline[1])
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    long = {"prediction": ["predict"]}.get(pipeline[0], ["train", "explain", "denoise"])
    for name in long:
        assert "/checkpoints" in [mount["mountPath"] for mount in placed[f"exec-{name}"]["pvcMount"]]
        assert placed[f"exec-{name}"]["fieldPathAsEnv"][0]["fieldPath"] == "metadata.labels['pipeline/runid']"


def test_what_trains_shows_its_metrics_at_the_port_that_its_label_names(pipeline):
    _, platform = yaml.safe_load_all(pipeline[1])
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    watched = {
        label.removeprefix("exec-")
        for label, pod in placed.items()
        if {"name": PORT, "fieldPath": f"metadata.labels['{settings.METRICS_LABEL}']"} in pod.get("fieldPathAsEnv", [])
    }
    trains = {"train", "begin-study", "join-study", "finish-study"} if pipeline[0] != "prediction" else set()
    assert watched == trains
    for name in watched:
        assert placed[f"exec-{name}"]["podMetadata"]["labels"] == {settings.METRICS_LABEL: settings.METRICS_PORT}
        # A value would open the port of a machine where the local runner trains, too.
        variables = executors(pipeline[1])[f"exec-{name}"]["container"].get("env", [])
        assert PORT not in [variable["name"] for variable in variables]


def test_what_the_config_map_says_of_mlflow_reaches_whoever_asks_it(pipeline):
    """Without the last two MLflow sends a pod on to the object store."""
    _, platform = yaml.safe_load_all(pipeline[1])
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    asking = {"prediction": ["predict"]}.get(pipeline[0], ["train", "evaluate", "register", "gate", "promote"])
    for name in asking:
        (config,) = placed[f"exec-{name}"]["configMapAsEnv"]
        assert {each["envVar"]: each["configMapKey"] for each in config["keyToEnv"]} == {
            key: key
            for key in (
                "MLFLOW_TRACKING_URI",
                "MLFLOW_EXPERIMENT_NAME",
                "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD",
                "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD",
            )
        }
        assert config["optional"]


def test_every_denoiser_is_in_the_loop():
    whole = compiled(PIPELINES["training"])
    loop = re.search(r"raw: '(\[.*?\])'", whole)
    assert loop is not None
    assert yaml.safe_load(loop[1]) == list(p.DenoiseParams.model_fields)
