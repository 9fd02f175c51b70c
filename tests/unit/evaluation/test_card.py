"""The model card, from numbers."""

import tomllib
from dataclasses import replace

import pytest

from galmorph.evaluation.card import LICENCE, CardFacts, limits, model_card, shortened
from galmorph.evaluation.metrics import CLASSES, OVERALL, PER_CLASS


def score(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def a_slice(accuracy, warning):
    return {
        "range": "below 9 | above 3", "n": 40, "accuracy": score(accuracy), "promised": 0.87, "difference": -0.2,
        "p_value": 0.001, "p_holm": 0.004, "warning": warning,
    }  # fmt: skip


SCORES = {
    "n": 1400, "confidence": 0.95, "support": {"Elliptical": 680, "Other": 720},
    **{name: score(0.5 + number / 100) for number, name in enumerate(OVERALL)},
    **{name: {label: score(0.8) for label in CLASSES} for name in PER_CLASS},
}  # fmt: skip
SHORTCUTS = {
    "n": 300, "blind": {"answer": "Other", "accuracy": 0.51}, "original": {"accuracy": score(0.93)},
    "without_galaxy": {"accuracy": score(0.61), "warning": False},
    "without_surroundings": {"accuracy": score(0.92)},
}  # fmt: skip
METRICS = {
    "scored_split": "test", "test": SCORES, "data_source": "archive GALAXIES.zip", "model_digest": "m" * 64,
    "slices": {"brightness": {"1 of 3": a_slice(0.7, True), "2 of 3": a_slice(0.9, False)}}, "shortcuts": SHORTCUTS,
}  # fmt: skip
FACTS = {
    "experiment": "resnet50_finetune_median", "architecture": "resnet50", "variant": "median",
    "preprocess": {"crop": 0.6, "image_size": 64}, "denoiser": {"kernel": 5}, "temperature": 1.25,
    "recipe": {"weights": "none", "phases": ["scratch"], "epochs": [12], "augmentation": None},
    "data_digest": "d" * 64, "params_digest": "p" * 64,
}  # fmt: skip
FAITHFULNESS = {
    "methods": {
        "grad_cam": {
            "title": "Grad-CAM",
            "verdicts": {
                "deletion": {"verdict": "passed", "reason": "fine"},
                "on_galaxy": {"verdict": "failed", "reason": "0.3 of it lies on the galaxy, no more than by chance"},
            },
        },
        "lime": {"title": "LIME", "verdicts": {"deletion": {"verdict": "undecided", "reason": "the interval holds 0"}}},
    }
}
CARD = CardFacts(
    registered="galmorph",
    facts=FACTS,
    metrics=METRICS,
    complexity={
        "layers": {"Conv2D": 3, "Dense": 2},
        "parameters": {"total": 439513, "trainable": 438073},
        "flops": 2e8,
    },
    robustness={"summary": "Within zoom 0.75 to 1.35 at most 0.9 points are lost."},
    faithfulness=FAITHFULNESS,
    taught={"train": 4000, "validation": 571},
    tags={"git_commit": "c0ffee", "dvc_revision": "123.dir"},
)


@pytest.fixture(scope="module")
def text():
    return model_card(CARD)


@pytest.mark.parametrize(
    "line",
    [
        "# resnet50_finetune_median",
        "denoising (median), cropping and resizing are its own",
        'mlflow.pyfunc.load_model("models:/galmorph/<version>")',
        "## Scores on test, n = 1,400",
        "| accuracy | 0.510 [0.460, 0.560] |",
        "| calibration error | 0.560 [0.510, 0.610] |",
        "| Other | 720 | 0.800 [0.750, 0.850] | 0.800 [0.750, 0.850] | 0.800 [0.750, 0.850] |",
        # A bar in a cell must not make another cell.
        "| brightness, 1 of 3 (below 9 \\| above 3) | 40 | 0.700 [0.650, 0.750] | \u22120.200 | 0.004 | **worse** |",
        "always saying Other is right on 0.510. That is no better than not looking.",
        "Within zoom 0.75 to 1.35",
        "| Grad-CAM | passed | failed |",
        "| LIME | undecided | \u2013 |",
        "| galaxies | 4,000 train, 571 validation |",
        "| source | a labelled archive, GALAXIES.zip |",
        f"| data digest | `{'d' * 64}` |",
        "| dvc revision | `123.dir` |",
        "| trained | scratch (12 epochs) |",
        "5 layers, 440 k parameters (438 k trained), 200 M floating-point operations",
        f"under {LICENCE}.",
    ],
)
def test_the_card_tells(text, line):
    assert line in text


def test_every_table_has_as_many_cells_in_each_row(text):
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 5
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1, table


def test_limits_come_from_the_numbers():
    found = "\n".join(limits(CARD))
    assert "trained from random weights, at 64 px" in found
    assert "Worse than elsewhere: brightness, 1 of 3 (below 9 \\| above 3), accuracy 0.700 [0.650, 0.750]" in found
    assert "2 of 3" not in found
    assert "Grad-CAM failed the check on_galaxy: 0.3 of it lies on the galaxy" in found
    assert "LIME" not in found
    assert "without the galaxy" not in found
    assert "no test split" not in found


def test_graver_limits_are_told():
    shortcuts = {**SHORTCUTS, "without_galaxy": {"accuracy": score(0.8), "warning": True}}
    metrics = {**METRICS, "scored_split": "validation", "validation": SCORES, "test": None, "shortcuts": shortcuts}
    card = replace(CARD, metrics=metrics)
    found = "\n".join(limits(card))
    assert "**There is no test split**" in found
    assert "**It answers without the galaxy**" in found
    assert "## Scores on validation" in model_card(card)
    assert "**Yes, it finds an answer without it**" in model_card(card)


def test_what_was_not_done_is_said():
    metrics = {**METRICS, "slices": {}, "shortcuts": None}
    text = model_card(replace(CARD, metrics=metrics, robustness=None, faithfulness=None))
    for heading, said in (
        ("Slices", "Not scored."),
        ("Does it look at the galaxy?", "Not tested."),
        ("Robustness", "Not measured."),
        ("Explanations", "Not checked."),
    ):
        assert f"## {heading}\n\n{said}" in text


def test_a_short_card_is_left_as_it_is(text):
    assert shortened(text, len(text)) == text


def test_a_long_card_ends_before_a_heading_and_says_where_the_rest_is(text):
    cut = shortened(text, 2000)
    assert len(cut) <= 2000
    kept, _, rest = cut.partition("\n\n…\n\n")
    assert text.startswith(kept)
    assert text[len(kept) :].lstrip().startswith("## ")
    assert "## Limits" in kept
    assert "model_card.md" in rest


def test_the_licence_is_the_projects(repository):
    assert tomllib.loads((repository / "pyproject.toml").read_text())["project"]["license"] == LICENCE
