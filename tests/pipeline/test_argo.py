"""The steps of the workflow for Argo, run one after another on what each declares and nothing else."""

import json
import os
import sqlite3

import pytest
from ruamel.yaml import YAML

from galmorph import params as p
from galmorph.quiet import QUIET
from galmorph.stage import paths, rows
from galmorph.stages import STAGES
from tests.argo import Controller, load
from tests.project import REPOSITORY

# A minute and a half of one core, in 18 processes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def small(values):
    """Two experiments, on other variants."""
    whole = p.merged(values, p.read_values(REPOSITORY / "tests" / "small.yaml"))
    kept = ("regularised_cnn_raw", "regularised_cnn_median")
    whole["experiments"] = {name: whole["experiments"][name] for name in kept}
    return p.merged(
        whole,
        {
            "acquire": {"simulate": {"galaxies": 60}},
            "train": {"scratch": {"epochs": 1}},
            "tune": {"experiment": kept[0]},
            "register": {"architecture": "any"},
            "explain": {"methods": ["grad_cam"]},
        },
    )


@pytest.fixture(scope="module")
def controller(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("argo")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    controller = Controller(
        load("workflow-template.yaml"),
        folder,
        {
            **kept,
            **QUIET,
            "PYTHONPATH": str(REPOSITORY / "src"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "HOME": str(folder),
        },
    )
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(small, file)
    controller.run(params=(folder / "params.yaml").read_text())
    return controller


def test_every_stage_ran_for_every_row_on_what_it_declares(controller, small):
    params = p.check(small, "small")
    ran = [(name, given.get(STAGES[name].each or "", "")) for name, given in controller.ran if name in STAGES]
    expected = [(name, row) for name, stage in STAGES.items() for row in rows(stage, params)]
    assert sorted(ran) == sorted(expected)


@pytest.mark.parametrize("name", STAGES)
def test_the_bucket_holds_what_the_stage_wrote(controller, small, name):
    params = p.check(small, "small")
    for row in rows(STAGES[name], params):
        placed = paths(STAGES[name], params, row)
        for keyword in STAGES[name].outputs:
            kept = controller.run_folder() / placed[keyword]
            files = [kept] if kept.is_file() else [path for path in kept.rglob("*") if path.is_file()]
            assert files, f"{name} {row}: {placed[keyword]}"
            assert all(path.stat().st_size for path in files), f"{name} {row}: {placed[keyword]} is empty"


def test_a_version_is_registered(controller):
    registration = json.loads((controller.run_folder() / "registration.json").read_text())
    with sqlite3.connect(controller.bucket.parent / "mlflow.db") as database:
        versions = database.execute("select name, version from model_versions").fetchall()
        aliases = database.execute("select name, alias, version from registered_model_aliases").fetchall()
    assert [(name, str(version)) for name, version in versions] == [("galmorph", "1")]
    assert [(name, alias) for name, alias, _ in aliases] == [("galmorph", "challenger")]
    assert str(registration["version"]) == "1"


def test_a_step_without_its_input_fails(controller, tmp_path):
    """Or the tests above would show nothing."""
    alone = Controller(load("workflow-template.yaml"), tmp_path, controller.environment)
    alone.known |= {"workflow.parameters.params": controller.known["workflow.parameters.params"]}
    with pytest.raises(AssertionError, match=r"no artifact galmorph/.*/data/manifest.parquet"):
        alone._step("split", {})
