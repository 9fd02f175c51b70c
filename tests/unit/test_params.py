import copy
import shutil
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from galmorph import params as p
from galmorph.errors import ParamsError
from galmorph.profile import apply_profile


def test_the_repository_s_values_are_valid(params):
    assert params.experiments


def test_params_are_frozen(params):
    with pytest.raises(ValidationError, match="frozen"):
        params.split.seed = 3


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.batch_sise=3", r"train\.batch_sise: unknown key\. Known here: .*batch_size"),
        ("train.batch_size=many", r"train\.batch_size: .*valid integer.*Received: 'many'"),
        (
            "train.augmentations.published.twist=3",
            r"train\.augmentations\.published\.twist: unknown key\. Known here: .*rotation",
        ),
        ("split.fractions.train=0.5", "add up to 1"),
        ("compare.reference=mine", r"compare\.reference: .*`chosen` or one of experiments: .*Received: 'mine'"),
        ("acquire.path=null", r"acquire\.path: .*path"),
        ("acquire.source=ftp", "'simulate', 'archive' or 'cutouts'"),
        ("denoise.median.kernel=4", "must be odd"),
        ("experiments.x.architecture=resnet50", r"experiments\.x\.variant: missing key"),
        ("experiments.vit_raw.architecture=resnet18", r"experiments\.vit_raw\.architecture: .*'resnet50'.*'resnet18'"),
        ("experiments.vit_raw.phases=[scratch, scratch]", r"each must stand there once\. Received: scratch, scratch"),
        (
            "experiments.regularised_cnn_raw.overrides.train.epoch=3",
            r"experiments\.regularised_cnn_raw with its overrides: train\.epoch: unknown key",
        ),
    ],
)
def test_a_wrong_value_is_named(values, assignment, message):
    with pytest.raises(ParamsError, match=message):
        p.check(p.with_overrides(values, [assignment]), "params.yaml")


def test_a_missing_key_is_named(values):
    fewer = copy.deepcopy(values)
    del fewer["split"]["seed"]
    with pytest.raises(ParamsError, match=r"my\.yaml: split\.seed: missing key"):
        p.check(fewer, "my.yaml")


def test_overrides_are_read_as_yaml_and_leave_the_values_alone(values):
    before = copy.deepcopy(values)
    changed = p.with_overrides(values, ["train.batch_size=8", "validate.footprint=any", "explain.grad_cam.layer=null"])
    assert (changed["train"]["batch_size"], changed["validate"]["footprint"]) == (8, "any")
    assert changed["explain"]["grad_cam"]["layer"] is None
    assert values == before


@pytest.mark.parametrize("assignment", ["train.batch_size", "=3", "train.batch_size=[1"])
def test_a_malformed_override_is_refused(values, assignment):
    with pytest.raises(ParamsError, match="--set"):
        p.with_overrides(values, [assignment])


def test_an_experiment_s_overrides_reach_its_stage(values):
    stage = p.TrainStageParams.model_validate(
        {
            "preprocess": values["preprocess"],
            "train": values["train"],
            "experiment": {
                "architecture": "regularised_cnn",
                "variant": "raw",
                "phases": ["scratch"],
                "overrides": {"train": {"augmentation": None, "scratch": {"epochs": 2}}, "preprocess": {"crop": 1}},
            },
        }
    )
    assert stage.train.augmentation is None
    assert stage.train.scratch.epochs == 2
    assert stage.train.scratch.learning_rate == values["train"]["scratch"]["learning_rate"]
    assert stage.preprocess.crop == 1


def test_a_mapping_laid_over_nothing_replaces_it():
    assert p.merged({"a": None, "b": {"c": 1}}, {"a": {"x": 1}, "b": {"d": 2}}) == {
        "a": {"x": 1},
        "b": {"c": 1, "d": 2},
    }


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match="nowhere"):
        p.read_values(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ParamsError, match="not valid YAML"):
        p.read_values(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ParamsError, match="must hold sections"):
        p.read_values(tmp_path / "list.yaml")


def test_whole_numbers_survive_a_trip_through_floats(values):
    """Kubeflow hands every number over as a float."""
    floated = {**values["split"], "seed": float(values["split"]["seed"])}
    assert p.SplitParams.model_validate(floated).seed == values["split"]["seed"]


@pytest.mark.parametrize(
    "profile", sorted((Path(__file__).parents[2] / "profiles").glob("*.yaml")), ids=lambda p: p.stem
)
def test_profiles_are_valid(profile: Path, tmp_path, repository: Path):
    shutil.copy(repository / "params.yaml", tmp_path / "params.yaml")
    assert apply_profile(profile, tmp_path / "params.yaml")
    p.check(p.read_values(tmp_path / "params.yaml"), profile.name)


def test_the_recipe_for_sdss_cutouts_measures_the_best_of_its_table_on_the_whole_split(tmp_path, repository: Path):
    shutil.copy(repository / "params.yaml", tmp_path / "params.yaml")
    apply_profile(repository / "profiles/sdss.yaml", tmp_path / "params.yaml")
    params = p.check(p.read_values(tmp_path / "params.yaml"), "sdss.yaml")
    assert params.register_.architecture == "any"
    assert params.explain.faithfulness.galaxies is None
    # A number that no collection of cutouts reaches stands for all of them.
    assert params.robustness.galaxies >= 100_000


@pytest.mark.parametrize("name", ["study", "gama"])
def test_the_whole_study_is_a_table(name, repository: Path):
    """The published eleven under their own names, and the transformer that the study's title promises."""
    published = YAML(typ="safe").load(repository / "src/galmorph/evaluation/published.yaml")["rows"]
    rows = p.read_values(repository / "profiles" / f"{name}.yaml")["experiments"]
    assert len(rows) == 12
    assert {row["experiment"]: (row["architecture"], row["variant"]) for row in published}.items() <= {
        experiment: (row["architecture"], row["variant"]) for experiment, row in rows.items()
    }.items()


def test_the_default_has_one_of_each_architecture_and_a_denoised_resnet(params):
    rows = list(params.experiments.values())
    assert len(rows) == 6
    assert {row.architecture for row in rows} == set(get_args(p.Architecture))
    assert [row.variant for row in rows if row.architecture == "resnet50"] == ["raw", "bilateral"]


class TestSomeSections:
    """What a pipeline has of params.yaml is checked as the whole is."""

    def some(self, values, *assignments: str) -> dict:
        return p.with_overrides({name: values[name] for name in ("train", "preprocess", "experiments")}, [*assignments])

    def test_good_ones_pass(self, values):
        assert set(type(p.check_some(self.some(values), "run")).model_fields) == {"train", "preprocess", "experiments"}
        p.check_some({}, "run")

    @pytest.mark.parametrize(
        ("assignment", "message"),
        [
            ("train.batchsize=8", r"run: train\.batchsize: unknown key\. Known here: .*batch_size"),
            ("train.scratch.warmup=99", "warmup must be less than epochs"),
            ("experiments.vit_raw.overrides.train.epoch=3", r"experiments\.vit_raw with its overrides: train\.epoch"),
        ],
    )
    def test_a_wrong_value_is_named(self, values, assignment, message):
        with pytest.raises(ParamsError, match=message):
            p.check_some(self.some(values, assignment), "run")

    def test_what_is_not_there_is_not_asked_for(self, values):
        p.check_some({"experiments": values["experiments"]}, "run")
        with pytest.raises(ParamsError, match="at least 1 item"):
            p.check_some({"experiments": {}}, "run")
        p.check_some({"compare": {**values["compare"], "reference": "of another table"}}, "run")
        with pytest.raises(ParamsError, match="must be `chosen` or one of experiments"):
            compare = {**values["compare"], "reference": "of another table"}
            p.check_some({"compare": compare, "experiments": values["experiments"]}, "run")

    def test_sections_are_named_as_in_the_file(self, values):
        assert p.section_names() == list(values)
