import pytest

from galmorph.models.recipe import recipe
from galmorph.params import TrainStageParams


def stage(values, architecture, weights):
    return TrainStageParams.model_validate(
        {
            "preprocess": values["preprocess"],
            "train": values["train"],
            "experiment": {
                "architecture": architecture, "variant": "raw", "phases": ["frozen", "finetune"],
                "overrides": {"train": {"transfer": {"weights": weights}}},
            },
        }
    )  # fmt: skip


def test_the_phases_that_were_run_are_counted(values):
    history = [{"phase": phase} for phase in ("frozen", "frozen", "finetune", "finetune", "finetune")]
    told = recipe(stage(values, "resnet50", "imagenet"), history)
    assert (told.weights, told.phases, told.epochs) == ("imagenet", ("frozen", "finetune"), (2, 3))
    assert (told.augmentation, told.class_weights) == ("published", True)


def test_a_phase_that_was_skipped_is_not_told(values):
    told = recipe(stage(values, "vgg16", "none"), [{"phase": "finetune"}])
    assert (told.weights, told.phases, told.epochs) == ("none", ("finetune",), (1,))


@pytest.mark.parametrize(
    ("architecture", "weights", "told"),
    [
        ("resnet50", "/home/someone/resnet50.weights.h5", "resnet50.weights.h5"),
        ("regularised_cnn", "imagenet", "none"),  # has no backbone to start from anything
    ],
)
def test_weights_are_told_by_name_where_there_are_any(values, architecture, weights, told):
    assert recipe(stage(values, architecture, weights), []).weights == told
