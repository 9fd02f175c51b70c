"""From a zip in the published layout to a registered model, by the commands of the README."""

import json
import shutil
import zipfile

import pandas as pd
import pytest

from tests.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A project that has walked the whole line on a zip with every kind of galaxy that cannot be used."""
    project = Project(tmp_path_factory.mktemp("e2e"))
    project.galmorph("acquire")
    raw, archive = project.folder / "data/raw", project.folder / "GALAXIES.zip"
    catalogue = pd.read_csv(raw / "catalogue.csv", dtype={"CATAID": str})
    with zipfile.ZipFile(archive, "w") as published:
        rows = [f"{row.CATAID};{int(row.label == 'Other')}" for row in catalogue.itertuples()]
        rows += ["111;0", "222;1", "333;7"]
        # As a spreadsheet saves it: a byte order mark, semicolons, Windows line ends.
        published.writestr("GALAXIES/2class_list.csv", "\ufeffCATAID;TARGET\r\n" + "\r\n".join(rows) + "\r\n")
        for cataid in catalogue["CATAID"]:
            published.write(raw / "images" / f"{cataid}.png", f"GALAXIES/images/{cataid}_giH.png")
        published.writestr("GALAXIES/images/111_giH.png", b"")
        published.writestr("GALAXIES/images/333_giH.png", b"not an image")
        published.writestr("GALAXIES/images/444_giH.png", b"\x89PNG\r\n\x1a\n")
    shutil.rmtree(project.folder / "data")
    profile = project.folder / "mine.yaml"
    row = "{ architecture: regularised_cnn, variant: %s, phases: [scratch], overrides: {} }"
    profile.write_text(
        "acquire: { source: archive, path: GALAXIES.zip }\n"
        "register: { architecture: any }\n"
        f"experiments:\n  regularised_cnn_raw: {row % 'raw'}\n  regularised_cnn_median: {row % 'median'}\n"
    )
    project.galmorph("profile", "mine.yaml")
    project.dvc("add", "GALAXIES.zip")
    # One experiment is the shortest line through everything.
    project.galmorph("acquire")
    project.galmorph("validate")
    project.galmorph("split")
    project.galmorph("denoise", "median")
    for experiment in ("regularised_cnn_raw", "regularised_cnn_median"):
        project.galmorph("train", experiment)
        project.galmorph("evaluate", experiment)
    for stage in ("compare", "robustness", "explain", "register"):
        project.galmorph(stage)
    return project


def test_what_cannot_be_used_is_quarantined_with_its_reason(project):
    manifest = pd.read_parquet(project.folder / "data/manifest.parquet").set_index("CATAID")
    rejected = manifest[~manifest["accepted"]]
    assert set(rejected.index) == {"111", "222", "333", "444"}
    assert (rejected["reasons"] != "").all()
    assert "label" in rejected.loc["333", "reasons"]
    assert "image" in rejected.loc["222", "reasons"]
    splits = pd.read_parquet(project.folder / "data/splits.parquet")
    assert not set(splits["CATAID"]) & set(rejected.index)


def test_the_line_ends_in_a_registered_model_with_its_reports(project):
    registration = json.loads((project.folder / "registration.json").read_text())
    assert registration["version"] == 1
    name = registration["tags"]["experiment"]
    assert (project.folder / "explanations" / name / "report.html").stat().st_size > 10_000
    checks = json.loads((project.folder / "explanations" / name / "faithfulness.json").read_text())
    assert "grad_cam" in checks["methods"]
    metrics = json.loads((project.folder / "explanations/metrics.json").read_text())
    assert metrics["experiment"] == name
    complexity = json.loads((project.folder / "evaluation" / name / "complexity.json").read_text())
    assert complexity["architecture"] == "regularised_cnn"
    assert complexity["layers"]["Conv2D"] > 0
    assert complexity["flops"] > complexity["parameters"]["total"] > 0
    assert complexity["images_per_second"] > 0
    board = (project.folder / "evaluation/leaderboard.md").read_text()
    assert "regularised_cnn_raw" in board
    assert "0.9229" in board or "0.923" in board, "the published figures stand beside ours"


def test_a_repeated_registration_makes_no_second_version(project):
    project.galmorph("register")
    assert json.loads((project.folder / "registration.json").read_text())["version"] == 1
