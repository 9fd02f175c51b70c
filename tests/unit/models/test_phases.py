"""Which layers learn in which phase, and that the others do not move at all."""

import keras
import numpy as np
import pytest

from galmorph.errors import TrainingError
from galmorph.models.phases import backbone_layers, planned_phases, set_trainable
from tests.training import copied, phases, run, small, toy, training_data


def moved(before: keras.Model, after: keras.Model) -> set[str]:
    """Layers with any weight, statistics included, that differs."""
    return {
        layer.name
        for layer in before.layers
        for old, new in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True)
        if not np.array_equal(old, new)
    }


HEAD = {"head_dense", "head_norm", "logit"}
BACKBONE = {"conv1", "norm1", "conv2", "norm2"}


@pytest.mark.parametrize(
    ("names", "changes", "expected"),
    [
        (("scratch",), {}, BACKBONE | HEAD),
        (("frozen",), {}, HEAD),
        (("finetune",), {}, {"conv1", "conv2"} | HEAD),
        (("finetune",), {"finetune__batch_norm": "trained"}, BACKBONE | HEAD),
        (("finetune",), {"finetune__unfrozen": 2}, {"conv2"} | HEAD),
        (("finetune",), {"finetune__unfrozen": 1, "finetune__batch_norm": "trained"}, {"norm2"} | HEAD),
        (("finetune",), {"finetune__unfrozen": 9, "finetune__batch_norm": "trained"}, BACKBONE | HEAD),
        # Random weights: there are no statistics worth keeping.
        (("finetune",), {"transfer__weights": "none"}, BACKBONE | HEAD),
    ],
)
def test_what_a_phase_moves(params, names, changes, expected):
    model = toy()
    for layer in model.layers:  # statistics that a recalibration would replace
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([weight + 0.25 for weight in layer.get_weights()])
    before = copied(model)
    state, kept = run(model, training_data(), small(params.train, **changes), phases(*names))
    assert moved(before, kept.models[state.epoch]) == expected


def test_the_frozen_phase_learns_and_finetune_goes_on_from_its_best_with_a_fresh_optimiser(params):
    values = small(params.train, frozen__epochs=6, finetune__learning_rate=1e-9)
    state, kept = run(toy(), training_data(), values, phases("frozen", "finetune"))
    rows = state.history
    assert [row["phase"] for row in rows] == ["frozen"] * 6 + ["finetune"] * 2
    best = min(row["val_loss"] for row in rows[:6])
    assert best < rows[0]["val_loss"]
    assert rows[6]["val_loss"] == pytest.approx(best, rel=0.02)
    assert rows[6]["learning_rate"] == pytest.approx(1e-9)
    iterations = [int(kept.optimisers[epoch][0]) for epoch in (6, 7)]
    assert iterations == [6 * 4, 4]


def test_random_weights_pass_the_frozen_phase_over(params):
    values = small(params.train, weights="none")
    assert planned_phases(values, phases("frozen", "finetune"), toy()) == [("frozen", False), ("finetune", True)]
    state, kept = run(toy(), training_data(), values, phases("frozen", "finetune"))
    assert [row["phase"] for row in state.history] == ["finetune"] * 2
    assert kept.states[-1].phase == 0


def test_nothing_but_a_frozen_phase_over_random_weights_is_refused(params):
    with pytest.raises(TrainingError, match=r"no phase is left.*transfer\.weights none.*Received: phases frozen"):
        planned_phases(small(params.train, weights="none"), phases("frozen"), toy())


@pytest.mark.parametrize(
    ("names", "changes", "remedy"),
    [(("frozen", "finetune"), {}, "phases"), (("finetune",), {"finetune__unfrozen": 3}, "unfrozen: all")],
)
def test_a_phase_without_a_backbone_is_refused(params, names, changes, remedy):
    image = keras.Input((16, 16, 3))
    plain = keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.Flatten()(image)))
    with pytest.raises(TrainingError, match=f"baseline_cnn has none.*{remedy}.*Received: architecture baseline_cnn"):
        planned_phases(small(params.train, **changes), phases(*names, architecture="baseline_cnn"), plain)


def test_a_network_without_a_backbone_can_be_finetuned_whole(params):
    image = keras.Input((16, 16, 3))
    plain = keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.Flatten(name="flat")(image)))
    assert backbone_layers(plain) == []
    set_trainable(plain, small(params.train), "finetune")
    assert all(layer.trainable for layer in plain.layers)
