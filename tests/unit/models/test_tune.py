"""The space of a study, its values, and the profile of the best."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from galmorph import params as p
from galmorph.errors import ParamsError
from galmorph.models import tune
from galmorph.params import Choices, Range, Steps
from galmorph.profile import apply_profile

CNN = {"architecture": "regularised_cnn", "variant": "raw", "phases": ["scratch"], "overrides": {}}
RESNET = {"architecture": "resnet50", "variant": "raw", "phases": ["frozen", "finetune"], "overrides": {}}
RATE = "train.scratch.learning_rate"


@pytest.fixture
def study(values):
    """Values with a row that overrides two values itself."""
    own = {"train": {"batch_size": 8, "scratch": {"epochs": 3}}}
    return {**values, "experiments": {"cnn": {**CNN, "overrides": own}, "resnet": RESNET}}


def own(study, experiment: str = "cnn", **train) -> p.TrainStageParams:
    return tune.trial_params({**study, "train": {**study["train"], **train}}, experiment, {}, "test")


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (Range(low=0.1, high=1.0, log=True), FloatDistribution(0.1, 1.0, log=True)),
        (Range(low=1, high=100, log=True), IntDistribution(1, 100, log=True)),
        (Range(low=0, high=0.5, log=False), FloatDistribution(0, 0.5)),
        (Steps(low=0, high=6, step=2), IntDistribution(0, 6, step=2)),
        (Steps(low=0.0, high=0.6, step=0.2), FloatDistribution(0, 0.6, step=0.2)),
        (Choices(choices=("all", 12)), CategoricalDistribution(("all", 12))),
    ],
)
def test_distributions(search, expected):
    assert tune.distribution(search) == expected


def test_a_trial_is_asked_for_every_key():
    space = {
        "a": Range(low=0.1, high=1.0, log=True),
        "b": Steps(low=0, high=6, step=2),
        "c": Choices(choices=("all", 12)),
    }
    trial = FixedTrial({"a": 0.5, "b": 4, "c": 12})
    assert tune.suggested(trial, space) == {"a": 0.5, "b": 4, "c": 12}
    assert trial.distributions == {key: tune.distribution(search) for key, search in space.items()}


def test_chosen_values_win_over_the_experiments_own(study):
    chosen = {RATE: 0.02, "train.batch_size": 4, "experiment.variant": "median", "preprocess.image_size": 24}
    params = tune.trial_params(study, "cnn", chosen, "test")
    assert (params.train.scratch.learning_rate, params.train.batch_size) == (0.02, 4)
    assert params.train.scratch.epochs == 3
    assert params.experiment.variant == "median"
    assert params.preprocess.image_size == 24
    assert study["experiments"]["cnn"]["overrides"]["train"]["batch_size"] == 8


def test_steps_are_written_as_they_are_meant():
    row = tune.tuned_row(CNN, {"train.cnn.head_dropout": 0.1 + 0.2})
    assert row["overrides"] == {"train": {"cnn": {"head_dropout": 0.3}}}


@pytest.mark.parametrize(
    ("key", "search", "message"),
    [
        ("train.scratch.learnin_rate", Range(low=0.1, high=1.0, log=True), r"learnin_rate: unknown key.*learning_rate"),
        (RATE, Range(low=0.0, high=1.0, log=False), r"tune\.space\.train\.scratch\.learning_rate at 0\.0: .*greater"),
        ("train.cnn.head_dropout", Steps(low=0.5, high=1.5, step=0.5), r"at 1\.5: .*less than 1"),
        ("train.batch_size", Range(low=1.5, high=4.0, log=False), r"batch_size at 1\.5"),
        ("experiment.variant", Choices(choices=("raw", "meidan")), r"at 'meidan'"),
        ("train.finetune.unfrozen", Choices(choices=("all", "none")), r"at 'none'"),
        ("experiment.architecture", Choices(choices=("vgg16", "vit")), r"takes keys of preprocess and train, and exp"),
        ("evaluate.seed", Range(low=1, high=2, log=False), r"takes keys of preprocess and train.*'evaluate\.seed'"),
        ("train", Choices(choices=(1, 2)), r"tune\.space\.train at 1"),
    ],
)
def test_a_wrong_key_or_value_is_found_before_anything_starts(study, key, search, message):
    with pytest.raises(ParamsError, match=message):
        tune.check_space({key: search}, study, "cnn", "params.yaml")


def test_the_default_space_suits_every_architecture(values, params):
    for row in (CNN, RESNET, {**CNN, "architecture": "vit"}):
        given = {**values, "experiments": {"row": row}}
        tune.check_space(params.tune.space, given, "row", "params.yaml")
        assert tune.used_space(params.tune.space, tune.trial_params(given, "row", {}, ""))


@pytest.mark.parametrize("number", [int, float])
def test_numbers_are_of_the_kind_that_the_key_takes(study, number):
    """JSON, as Kubeflow Pipelines carries it, knows one kind of number; a rate from 0 to 1 is not two values."""
    space = {
        "train.cnn.dense_units": Range(low=number(64), high=number(512), log=True),
        "train.batch_size": Choices(choices=(number(16), number(32))),
        "train.cnn.head_dropout": Range(low=number(0), high=number(1), log=False),
        "train.scratch.warmup": Steps(low=number(0), high=number(4), step=number(2)),
        "experiment.variant": Choices(choices=("raw", "tv")),
    }
    found = {key: tune.distribution(search) for key, search in tune.used_space(space, own(study)).items()}
    assert found == {
        "train.cnn.dense_units": IntDistribution(64, 512, log=True),
        "train.batch_size": CategoricalDistribution((16, 32)),
        "train.cnn.head_dropout": FloatDistribution(0.0, 1.0),
        "train.scratch.warmup": IntDistribution(0, 4, step=2),
        "experiment.variant": CategoricalDistribution(("raw", "tv")),
    }
    assert [type(choice) for choice in found["train.batch_size"].choices] == [int, int]


def test_a_part_of_a_whole_number_is_left_for_the_trial_to_refuse(study):
    space = {"train.batch_size": Choices(choices=(16, 24.5))}
    assert tune.used_space(space, own(study)) == space


def test_what_an_experiment_does_not_use_is_not_searched(study):
    keys = [
        RATE, "train.frozen.learning_rate", "train.finetune.unfrozen", "train.cnn.dense_units", "train.vit.dropout",
        "train.transfer.dropout", "train.batch_size", "train.augmentation_strength", "experiment.variant",
    ]  # fmt: skip

    def used(params: p.TrainStageParams) -> set[str]:
        return {key for key in keys if tune.is_used(key, params)}

    always = {"train.batch_size", "train.augmentation_strength", "experiment.variant"}
    assert used(own(study)) == {*always, RATE, "train.cnn.dense_units"}
    assert used(own(study, augmentation=None)) == {*always, RATE, "train.cnn.dense_units"} - {keys[7]}
    # Without pretrained weights the frozen phase is skipped.
    finetuned = {*always, "train.finetune.unfrozen", "train.transfer.dropout"}
    assert used(own(study, "resnet")) == finetuned
    pretrained = {**study["train"]["transfer"], "weights": "imagenet"}
    assert used(own(study, "resnet", transfer=pretrained)) == {*finetuned, "train.frozen.learning_rate"}


def test_block_dropout_is_the_regularised_cnns_alone(study):
    baseline = {**study, "experiments": {"cnn": {**CNN, "architecture": "baseline_cnn"}}}
    assert tune.is_used("train.cnn.block_dropout", own(study))
    assert not tune.is_used("train.cnn.block_dropout", own(baseline))


def test_a_study_starts_from_the_values_that_are_there(study):
    params = own(study)
    space = {
        RATE: Range(low=0.0001, high=0.01, log=True),
        "train.batch_size": Choices(choices=(8, 16)),
        "train.cnn.head_dropout": Steps(low=0.0, high=0.75, step=0.25),  # 0.5 is a step
        "train.cnn.block_dropout": Steps(low=0.0, high=0.6, step=0.2),  # 0.25 is none
        "train.cnn.dense_units": Range(low=8, high=64, log=True),  # 512 lies outside
        "experiment.variant": Choices(choices=("raw", "tv")),
    }
    expected = {RATE: 0.001, "train.batch_size": 8, "train.cnn.head_dropout": 0.5, "experiment.variant": "raw"}
    assert tune.starting_point(space, params) == expected


def test_a_true_is_no_one():
    assert not tune._holds(Choices(choices=(1, 2)), True)
    assert not tune._holds(Range(low=0, high=2, log=False), True)


def test_variants_that_a_study_needs(study):
    assert tune.variants({}, own(study)) == ["raw"]
    assert tune.variants({"experiment.variant": Choices(choices=("tv", "nlm"))}, own(study)) == ["tv", "nlm"]


def test_studies_differ_by_what_makes_their_trials_differ(study):
    space = {RATE: Range(low=0.0001, high=0.01, log=True)}

    def identity(space=space, metric="loss", digest="d", **train) -> dict[str, str]:
        return tune.identity(space, own(study, **train), metric, {"raw": digest})

    here = identity()
    assert tune.differences(here, identity()) == []
    scratch = study["train"]["scratch"]
    # Neither a searched value nor one that the experiment does not use makes another study.
    assert tune.differences(here, identity(scratch={**scratch, "learning_rate": 0.5})) == []
    assert tune.differences(here, identity(vit={**study["train"]["vit"], "dropout": 0.3})) == []
    assert tune.differences(here, identity(seed=5)) == ["train.seed: 11 there, 5 here"]
    assert tune.differences(here, identity(metric="accuracy")) == ["metric: loss there, accuracy here"]
    assert tune.differences(here, identity(digest="e")) == ["data.raw: d there, e here"]
    (wider,) = tune.differences(here, identity({RATE: Range(low=0.0001, high=0.1, log=True)}))
    assert wider.startswith(f"space.{RATE}: ")
    assert '"high": 0.01' in wider.split(" there, ")[0]
    more = tune.differences(here, identity({**space, "train.batch_size": Choices(choices=(8, 16))}))
    assert [text.partition(": ")[0] for text in more] == ["space.train.batch_size", "train.batch_size"]
    assert "nothing there" in more[0]


def test_the_best_are_a_profile(tmp_path, repository, values):
    """Applied to params.yaml it changes one row, and the others stay."""
    from ruamel.yaml import YAML

    chosen = {RATE: 0.004, "experiment.variant": "tv"}
    name = next(iter(values["experiments"]))
    profile, target = tmp_path / "best.yaml", tmp_path / "params.yaml"
    YAML(typ="safe").dump(tune.best_profile(values["experiments"], name, chosen), profile)
    target.write_text((repository / "params.yaml").read_text())
    assert apply_profile(profile, target)
    after = p.read_values(target)
    assert after["experiments"][name]["variant"] == "tv"
    assert after["experiments"][name]["overrides"]["train"]["scratch"]["learning_rate"] == 0.004
    assert after["experiments"].keys() == values["experiments"].keys()
    others = {key: row for key, row in values["experiments"].items() if key != name}
    assert {key: row for key, row in after["experiments"].items() if key != name} == others
