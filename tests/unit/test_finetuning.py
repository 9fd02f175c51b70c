"""What `galmorph finetune` decides before it runs anything."""

from pathlib import Path

import pytest

from galmorph import finetuning
from galmorph import params as p
from galmorph.errors import ParamsError, UpstreamError
from galmorph.stage import paths
from galmorph.stages import STAGES

ROWS = {
    "cnn": {"architecture": "regularised_cnn", "variant": "raw", "phases": ["scratch"], "overrides": {}},
    "frozen": {"architecture": "resnet50", "variant": "raw", "phases": ["frozen"], "overrides": {}},
    "vgg": {"architecture": "vgg16", "variant": "median", "phases": ["frozen", "finetune"], "overrides": {}},
    "resnet": {"architecture": "resnet50", "variant": "raw", "phases": ["frozen", "finetune"], "overrides": {}},
}


def study(values, architecture: str, rows=ROWS) -> dict:
    return {**values, "experiments": rows, "register": {**values["register"], "architecture": architecture}}


@pytest.mark.parametrize(("architecture", "expected"), [("resnet50", "resnet"), ("any", "vgg"), ("vgg16", "vgg")])
def test_the_first_that_is_finetuned_and_may_be_registered(values, architecture, expected):
    assert finetuning.default_experiment(p.check(study(values, architecture), "x"), "x") == expected


def test_none_that_may_be_is_said(values):
    with pytest.raises(ParamsError, match=r"architecture vit .*--experiment.*Received: cnn, frozen"):
        finetuning.default_experiment(p.check(study(values, "vit"), "x"), "x")


def test_an_unknown_experiment_lists_the_known(values):
    with pytest.raises(ParamsError, match=r"Known: cnn, frozen, vgg, resnet\. Received: 'resnet51'"):
        finetuning.finetune(study(values, "any"), "mine.yaml", "resnet51")


def test_the_data_cannot_be_changed_beside_dvc(values):
    changed = p.with_overrides(values, ["split.seed=99", "denoise.tv.weight=0.3", "train.seed=99"])
    with pytest.raises(ParamsError, match=r"Change denoise, split there"):
        finetuning.check_upstream(changed, values, "params.yaml")
    finetuning.check_upstream(p.with_overrides(values, ["train.seed=99"]), values, "params.yaml")


def test_a_run_has_every_stage_from_train_on_and_its_own_folder(values):
    own = finetuning.own_stages()
    assert own[0] == "train"
    assert own[-1] == "register"
    alone = p.check(finetuning.only(study(values, "vit"), "cnn"), "x")
    assert list(alone.experiments) == ["cnn"]
    assert alone.register_.architecture == "any"
    into = Path("runs/it")
    for name in own:
        row = "cnn" if STAGES[name].each else ""
        for keyword, path in paths(STAGES[name], alone, row, into).items():
            kept = path.parts[0] == "data" and keyword in STAGES[name].inputs
            assert kept or path.is_relative_to(into), f"{name} would write {path}"


def test_other_work_has_another_folder(values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/variants").mkdir(parents=True)
    (tmp_path / "data/splits.parquet").write_bytes(b"splits")
    card = tmp_path / "data/variants/raw.json"
    card.write_text('{"digest": "one"}')
    given = study(values, "any")
    first = finetuning.identity(given, "resnet")
    assert first.startswith("resnet-")
    assert finetuning.identity(given, "resnet") == first
    assert finetuning.identity(p.with_overrides(given, ["train.finetune.epochs=3"]), "resnet") != first
    for elsewhere in ("split.seed=3", "explain.picture.alpha=0.1"):
        assert finetuning.identity(p.with_overrides(given, [elsewhere]), "resnet") == first
    card.write_text('{"digest": "two"}')
    assert finetuning.identity(given, "resnet") != first


def test_what_dvc_cannot_make_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UpstreamError, match=r"dvc repro split denoise@tv"):
        finetuning.make_upstream("tv")


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"a": "1"}, ["b", "c"]),
        ({"a": "1", "b": "2"}, ["c"]),
        ({"a": "1", "b": "other values", "c": "3"}, ["b", "c"]),
        ({"a": "1", "b": "2", "c": "3"}, ["a", "b", "c"]),  # a finished run is made anew
    ],
)
def test_it_goes_on_from_the_first_stage_that_was_not_finished_with_these_values(finished, expected):
    assert finetuning.unfinished({"a": "1", "b": "2", "c": "3"}, finished) == expected
