"""The stage table, dvc.yaml, MLproject and the command line name the same stages, files and sections."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from galmorph import params as p
from galmorph.cli import parser
from galmorph.stage import paths, rows, stage_values
from galmorph.stages import STAGES
from galmorph.tools import TOOLS

#: Tools that `mlflow run` starts too.
PROJECT_TOOLS = [tool.NAME for tool in TOOLS if getattr(tool, "PROJECT", False)]


@pytest.fixture(scope="module")
def dvc(repository):
    return YAML(typ="safe").load(repository / "dvc.yaml")["stages"]


@pytest.fixture(scope="module")
def mlproject(repository):
    return YAML(typ="safe").load(repository / "MLproject")["entry_points"]


def body(stage: dict) -> dict:
    return stage.get("do", stage)


def names(entries: list) -> list[str]:
    """Paths of a list whose entries may be mappings from a path to its options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def template(path: str) -> str:
    """DVC's placeholders as STAGES writes them."""
    return path.replace("${item.variant}", "{variant}")


def row_of(stage) -> str:
    return "{" + stage.each + "}" if stage.each else ""


def test_every_runner_has_every_stage_in_the_same_order(dvc, mlproject):
    assert list(dvc) == list(STAGES)
    assert list(mlproject) == ["main", *STAGES, *PROJECT_TOOLS]


@pytest.mark.parametrize("name", STAGES)
class TestDvc:
    def test_command(self, name, dvc):
        row = " ${key}" if STAGES[name].each else ""
        assert body(dvc[name])["cmd"] == f"python -m galmorph {name}{row}"
        table = {"variant": "${denoise}", "experiment": "${experiments}", None: None}[STAGES[name].each]
        assert dvc[name].get("foreach") == table

    def test_sections(self, name, dvc):
        expected = [section.replace(row_of(STAGES[name]) or "\0", "${key}") for section in STAGES[name].sections]
        assert body(dvc[name])["params"] == expected

    def test_inputs_and_code(self, name, dvc):
        stage = STAGES[name]
        seen = {keyword: path for keyword, path in stage.inputs.items() if keyword not in stage.through}
        code = [f"src/galmorph/{package}" for package in stage.packages]
        expected = {*code, *(path.replace(row_of(stage) or "\0", "${key}") for path in seen.values())}
        given = [path for path in body(dvc[name])["deps"] if re.fullmatch(r"\$\{[a-z]+\.[a-z]+\}", path)]
        assert all(path[2:].partition(".")[0] in stage.sections for path in given), "a path from another's section"
        deps = {template(path) for path in body(dvc[name])["deps"]} - set(given)
        for path in expected:
            # A folder may be named by the files in it.
            assert any(dep == path or dep.startswith(path + "/") for dep in deps), f"{name}: {path} is no dependency"
        for dep in deps:
            assert any(dep == path or dep.startswith(path + "/") for path in expected), f"{name}: {dep} is not read"

    def test_outputs(self, name, dvc):
        stage = STAGES[name]
        expected = {path.replace(row_of(stage) or "\0", "${key}") for path in stage.outputs.values()}
        outs = {path for kind in ("outs", "metrics", "plots") for path in names(body(dvc[name]).get(kind, []))}
        for path in expected:
            assert any(out == path or out.startswith(path + "/") for out in outs), f"{name}: {path} is not versioned"
        for out in outs:
            known = any(out == path or out.startswith(path + "/") for path in expected)
            beside = any(Path(out).with_suffix("") == Path(path).with_suffix("") for path in expected)
            assert known or beside, f"{name}: {out} is not written"

    def test_plots_name_both_axes(self, name, dvc):
        """Without `y`, DVC draws the last column of a table, whatever that is."""
        for entry in body(dvc[name]).get("plots", []):
            for file, axes in entry.items():
                assert {"x", "y"} <= set(axes), file

    def test_what_stands_for_an_input_is_one(self, name):
        stage = STAGES[name]
        assert set(stage.through) <= set(stage.inputs)
        assert set(stage.through.values()) <= set(stage.inputs) - set(stage.through)


@pytest.mark.parametrize("name", STAGES)
def test_mlproject_passes_paths_and_no_values(name, mlproject):
    stage, entry = STAGES[name], mlproject[name]
    row = f" {row_of(stage)}" if stage.each else ""
    assert entry["command"] == f"PYTHONPATH=src python -m galmorph {name}{row} --params {{params}} --set {{set}}"
    assert set(entry["parameters"]) == {"params", "set"} | ({stage.each} if stage.each else set())


@pytest.mark.parametrize("name", PROJECT_TOOLS)
def test_mlproject_starts_a_tool_as_the_command_line_does(name, mlproject):
    """Each parameter beside `params` and `set` is an option of the tool of that name, and has no value of its own."""
    entry = mlproject[name]
    own = [key for key in entry["parameters"] if key not in ("params", "set")]
    options = "".join(f" --{key} {{{key}}}" for key in own)
    assert entry["command"] == f"PYTHONPATH=src python -m galmorph {name}{options} --params {{params}} --set {{set}}"
    assert {"params", "set"} <= set(entry["parameters"])
    assert all(entry["parameters"][key]["default"] == "" for key in [*own, "set"])
    # The command line takes it.
    options = parser().parse_args([name, *(part for key in own for part in (f"--{key}", "")), "--set", ""])
    assert options.command == name


@pytest.mark.parametrize("name", STAGES)
def test_functions_take_what_the_table_gives(name):
    stage = STAGES[name]
    expected = {*stage.inputs, *stage.outputs, "params", *(["each"] if stage.each else [])}
    assert set(inspect.signature(stage.run).parameters) == expected


@pytest.mark.parametrize("name", STAGES)
def test_every_row_of_every_stage_has_values_and_paths(name, params, values):
    stage = STAGES[name]
    for row in rows(stage, params):
        assert stage_values(stage, values, row)
        assert not any("{" in str(path) for path in paths(stage, params, row).values())


def test_packages_are_folders(repository):
    for stage in STAGES.values():
        for package in stage.packages:
            assert (repository / "src" / "galmorph" / package / "__init__.py").exists()


def test_metrics_in_a_stages_folder_are_listed_apart(repository):
    """`dvc metrics show` looks into no folder that is an output: what lies in one is named at the top."""
    whole = YAML(typ="safe").load(repository / "dvc.yaml")
    folders = [out for stage in whole["stages"].values() for out in names(body(stage).get("outs", []))]
    assert whole["metrics"] == ["explanations/metrics.json"]
    for path in whole["metrics"]:
        assert any(path.startswith(f"{folder}/") for folder in folders), f"{path} is in no stage's output"


def test_no_input_is_made_by_no_stage():
    made = {path for stage in STAGES.values() for path in stage.outputs.values()}
    for name, stage in STAGES.items():
        for path in stage.inputs.values():
            pattern = re.compile(re.escape(path).replace(r"\{images\}", "data/.*").replace(r"\{variant\}", ".*"))
            folder = any(output.startswith(path + "/") for output in made)
            assert folder or any(pattern.fullmatch(output) for output in made), f"{name} reads {path}"


def test_dvc_reads_its_file(repository):
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"],
        cwd=repository, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    expected = [f"{name}@{row}" if row else name for name, stage in STAGES.items() for row in _rows(stage, repository)]
    assert listed == expected


def _rows(stage, repository) -> list[str]:
    return rows(stage, p.check(p.read_values(repository / "params.yaml"), "params.yaml"))


def test_the_command_line_starts_without_the_heavy_libraries():
    """`galmorph --help` and a wrong parameter must answer at once."""
    script = (
        "import sys, galmorph.cli; galmorph.cli.parser();"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'galsim', 'astropy', 'great_expectations', 'matplotlib', 'sklearn',"
        " 'optuna', 'sqlalchemy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"
