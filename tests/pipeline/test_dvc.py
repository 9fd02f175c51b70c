"""The pipeline as `dvc` runs it: nothing twice, nothing too much, and versioned."""

import json
import re
import shutil

import pandas as pd
import pytest

from galmorph import params as p
from galmorph.stage import paths, rows
from galmorph.stages import STAGES


def ran(printed: str) -> set[str]:
    """Names of the stages that `dvc repro` ran or would run."""
    return set(re.findall(r"Running stage '([^']+)'", printed))


def test_every_stage_leaves_what_it_promises(finished):
    params = p.check(p.read_values(finished.folder / "params.yaml"), "params.yaml")
    for stage in STAGES.values():
        for row in rows(stage, params):
            for path in paths(stage, params, row).values():
                made = finished.folder / path
                assert made.stat().st_size > 0, path
                assert made.is_file() or any(made.iterdir()), path


def test_git_sees_nothing_but_the_lock(finished):
    assert finished.git("status", "--porcelain").split() == ["??", "dvc.lock"]


def test_no_temporary_file_is_left(finished):
    left = [path for path in finished.folder.rglob("*.partial*") if ".dvc" not in path.parts]
    assert left == []


def test_a_second_run_does_nothing(finished):
    printed = finished.dvc("repro")
    assert "up to date" in printed
    assert not ran(printed)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("explain.picture.alpha=0.5", {"explain", "register"}),
        ("register.alias=candidate", {"compare", "robustness", "explain", "register"}),
        ("robustness.seed=4", {"robustness", "register"}),
        ("denoise.tv.weight=0.2", {"denoise@tv"}),
        (
            "experiments.regularised_cnn_median.overrides.train.seed=3",
            {
                "train@regularised_cnn_median",
                "evaluate@regularised_cnn_median",
                "compare",
                "robustness",
                "explain",
                "register",
            },
        ),
    ],
)
def test_a_change_reruns_only_what_depends_on_it(finished, tmp_path, changed, expected):
    """Nothing is run: what follows is counted as changed with what it comes from, whatever would come out."""
    section = changed.partition("=")[0]
    before = (finished.folder / "params.yaml").read_text()
    profile = tmp_path / "profile.yaml"
    keys, value = section.split("."), changed.partition("=")[2]
    experiment = {"architecture": "regularised_cnn", "variant": "median", "phases": ["scratch"]}
    if keys[0] == "experiments":
        values = p.read_values(finished.folder / "params.yaml")["experiments"]
        nested = {"experiments": {**values, keys[1]: {**experiment, "overrides": {"train": {"seed": int(value)}}}}}
    else:
        nested = {keys[-1]: p.with_overrides({}, [f"x={value}"])["x"]}
        for key in reversed(keys[:-1]):
            nested = {key: nested}
    from ruamel.yaml import YAML

    YAML().dump(nested, profile)
    try:
        finished.galmorph("profile", str(profile))
        would_run = ran(finished.dvc("repro", "--dry", "--force-downstream"))
    finally:
        (finished.folder / "params.yaml").write_text(before)
    assert would_run == expected


def test_the_chosen_model_is_explained_and_the_explanations_are_checked(finished):
    best = json.loads((finished.folder / "evaluation/best.json").read_text())["experiment"]
    explained = finished.folder / "explanations" / best
    record = json.loads((explained / "faithfulness.json").read_text())
    params = p.check(p.read_values(finished.folder / "params.yaml"), "params.yaml").explain
    # The chosen model is a convolutional network.
    assert set(record["methods"]) == set(params.methods) - {"attention_rollout"}
    assert record["galaxies"] == params.faithfulness.galaxies
    for name, method in record["methods"].items():
        assert set(method["verdicts"]) == {"randomisation", "deletion", "insertion", "on_galaxy"}, name
    page = (explained / "report.html").read_text()
    assert best in page
    assert len(page) < 10_000_000
    metrics = json.loads((finished.folder / "explanations/metrics.json").read_text())
    assert metrics["experiment"] == best
    assert metrics["occlusion_deletion"] == record["methods"]["occlusion"]["scores"]["deletion"]["value"]


def test_results_travel_through_a_remote(finished, tmp_path):
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    finished.dvc("remote", "add", "--local", "--force", "backup", str(remote))
    finished.dvc("push", "--remote", "backup")
    finished.git("clone", "--quiet", str(finished.folder), str(clone))
    for name in ("dvc.lock", ".dvc/config.local"):
        shutil.copy(finished.folder / name, clone / name)
    assert not (clone / "models").exists()
    finished.run("python", "-m", "dvc", "--cd", str(clone), "pull", "--remote", "backup")
    for name in ("data/manifest.parquet", "models/regularised_cnn_raw/model.keras", "evaluation/leaderboard.html"):
        assert (clone / name).read_bytes() == (finished.folder / name).read_bytes()
    status = finished.run("python", "-m", "dvc", "--cd", str(clone), "status").stdout
    assert "up to date" in status


def test_metrics_and_plots_tell_the_story(finished, tmp_path):
    metrics = json.loads(finished.dvc("metrics", "show", "--json").partition("\n")[0])
    shown = metrics[""]["data"]
    assert "evaluation/regularised_cnn_raw/metrics.json" in shown
    assert 0 <= shown["evaluation/regularised_cnn_raw/metrics.json"]["data"]["test"]["accuracy"]["value"] <= 1
    assert "summary" in shown["robustness/metrics.json"]["data"]
    explained = shown["explanations/metrics.json"]["data"]
    assert 0 <= explained["occlusion_deletion"] <= 1
    assert 0 <= explained["occlusion_checks_passed"] + explained["occlusion_checks_failed"] <= 4
    assert "psnr" in shown["data/variants/nlm.json"]["data"]
    finished.dvc("plots", "show", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots" / "index.html").read_text()
    for plot in ("history.csv", "roc.csv", "calibration.csv", "confusion.csv", "curves.csv"):
        assert plot in page
    # The learning curve, not the last column.
    drawn = set(re.findall(r'"field": "([^"]+)"', page))
    assert "val_loss" in drawn
    assert "learning_rate" not in drawn


def test_an_archive_can_be_put_under_dvc(finished):
    archive = finished.folder / "GALAXIES.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", finished.folder / "data" / "raw")
    try:
        finished.dvc("add", "GALAXIES.zip")
        assert (finished.folder / "GALAXIES.zip.dvc").exists()
    finally:
        for name in ("GALAXIES.zip", "GALAXIES.zip.dvc"):
            (finished.folder / name).unlink(missing_ok=True)
        finished.git("checkout", ".gitignore")


def test_predictions_are_keyed_by_galaxy(finished):
    predictions = pd.read_parquet(finished.folder / "evaluation/regularised_cnn_raw/predictions.parquet")
    splits = pd.read_parquet(finished.folder / "data/splits.parquet")
    assert predictions["CATAID"].is_unique
    held_out = splits[splits["split"] != "train"]
    assert sorted(predictions["CATAID"]) == sorted(held_out["CATAID"])
    assert predictions["p_elliptical"].between(0, 1).all()


def test_the_data_digest_goes_all_the_way(finished):
    folder = finished.folder
    best = json.loads((folder / "evaluation/best.json").read_text())
    card = json.loads((folder / f"data/variants/{best['variant']}.json").read_text())
    registration = json.loads((folder / "registration.json").read_text())
    assert card["digest"] == best["data_digest"] == registration["tags"]["data_digest"]


@pytest.mark.slow
def test_an_experiment_in_dvc_s_sense(finished):
    """`dvc exp run -S` trains with another value in a workspace of its own and leaves ours alone."""
    finished.commit("Keep the lock")
    try:
        finished.dvc("exp", "run", "--temp", "--name", "faster", "-S", "train.scratch.learning_rate=0.002", "compare")
        assert "faster" in finished.dvc("exp", "list", "--name-only")
        assert finished.git("status", "--porcelain") == ""
    finally:
        finished.git("reset", "--quiet", "--soft", "HEAD~1")
        finished.git("reset", "--quiet")
