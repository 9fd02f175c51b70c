import errno
import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest

from galmorph import stages, storage
from galmorph.data.denoise import denoise, quality
from galmorph.data.identity import data_digest
from galmorph.errors import ImageError, InputError, StorageError
from galmorph.params import MedianParams, NlmParams

PARAMS = MedianParams(kernel=3)
REJECTED = "0003"


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("GALMORPH_WORKERS", "1")


def make_raw(folder, with_truth=True, count=8):
    """Write `count` galaxies below `folder`, the third rejected, and their manifest."""
    storage.write_json(folder / "raw" / stages.SOURCE_FILE, {"source": "archive mine.zip"})
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:72, :64] - 33.0
    manifest = []
    for index in range(1, count + 1):
        truth = np.stack([200 * np.exp(-np.hypot(rows, columns) / (4 + index + band)) for band in range(3)], -1)
        noisy = np.clip(np.rint(truth + rng.normal(0, 8, truth.shape)), 0, 255).astype(np.uint8)
        cataid = f"{index:04d}"
        path = folder / "raw/images" / f"{cataid}.png"
        storage.write_image(path, noisy)
        if with_truth:
            storage.write_image(folder / "raw/noise_free" / f"{cataid}.png", np.rint(truth).astype(np.uint8))
        manifest.append(
            {
                "CATAID": cataid,
                "label": ("Elliptical", "Other")[index % 2],
                "accepted": cataid != REJECTED,
                "sha256": storage.digest_file(path),
                "radius_pixels": float(index),
            }
        )
    storage.write_table(folder / "manifest.parquet", pd.DataFrame(manifest))
    return folder


def run(folder, params=PARAMS, variant="median"):
    stages.denoise(
        folder / "raw",
        folder / "manifest.parquet",
        folder / f"variants/{variant}",
        folder / f"variants/{variant}.json",
        folder / f"reports/denoise/{variant}",
        params,
        variant,
    )
    return storage.read_json(folder / f"variants/{variant}.json")


def accepted(folder):
    manifest = storage.read_table(folder / "manifest.parquet")
    return manifest[manifest["accepted"]]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_accepted_galaxy_is_denoised_and_nothing_else_is_there(tmp_path):
    run(make_raw(tmp_path))
    names = [f"{cataid}.png" for cataid in accepted(tmp_path)["CATAID"]]
    assert sorted(contents(tmp_path / "variants/median")) == names
    assert f"{REJECTED}.png" not in names
    for name in names:
        image = storage.read_image(tmp_path / "raw/images" / name)
        np.testing.assert_array_equal(storage.read_image(tmp_path / "variants/median" / name), denoise(image, PARAMS))
    assert sorted(contents(tmp_path / "variants")) == sorted(["median.json", *(f"median/{name}" for name in names)])
    assert list(contents(tmp_path / "reports")) == ["denoise/median/sheet.png"]


def test_the_card_names_the_denoised_files(tmp_path):
    card = run(make_raw(tmp_path))
    galaxies = accepted(tmp_path)
    files = [tmp_path / f"variants/median/{cataid}.png" for cataid in galaxies["CATAID"]]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert card["variant"] == "median"
    assert card["images"] == card["measured"] == 7
    assert card["digest"] == data_digest(galaxies["CATAID"], galaxies["label"], digests)
    assert card["digest"] != data_digest(galaxies["CATAID"], galaxies["label"], galaxies["sha256"])


def test_the_card_tells_quality_against_the_truth(tmp_path):
    card = run(make_raw(tmp_path))
    found = {"noisy": [], "denoised": []}
    for cataid in accepted(tmp_path)["CATAID"]:
        truth = storage.read_image(tmp_path / f"raw/noise_free/{cataid}.png")
        for state, folder in (("noisy", "raw/images"), ("denoised", "variants/median")):
            found[state].append(quality(storage.read_image(tmp_path / folder / f"{cataid}.png"), truth))
    for measure in ("psnr", "ssim"):
        for state, values in found.items():
            each = [getattr(value, measure) for value in values]
            expected = {"mean": np.mean(each), "p5": np.percentile(each, 5), "p95": np.percentile(each, 95)}
            assert card[measure][state] == pytest.approx(expected, abs=1e-4)
    assert card["psnr"]["denoised"]["mean"] > card["psnr"]["noisy"]["mean"]


def test_without_truth_the_card_tells_no_quality(tmp_path):
    card = run(make_raw(tmp_path, with_truth=False))
    assert sorted(card) == ["denoiser", "digest", "images", "source", "variant"]
    assert card["denoiser"] == {"kernel": 3}, "so that whoever has other images can denoise them in the same way"
    assert card["source"] == "archive mine.zip"


def test_truth_of_some_galaxies_only_is_counted(tmp_path):
    make_raw(tmp_path)
    (tmp_path / "raw/noise_free/0001.png").unlink()
    card = run(tmp_path)
    assert (card["images"], card["measured"]) == (7, 6)


def stopped_after(monkeypatch, count):
    """Let `denoise` fail, as an interrupt would, once it was called `count` times; return the list of its calls."""
    calls = []

    def interrupted(image, params):
        if len(calls) == count:
            raise KeyboardInterrupt
        calls.append(image)
        return denoise(image, params)

    monkeypatch.setattr("galmorph.data.denoise.denoise", interrupted)
    return calls


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    run(make_raw(tmp_path / "whole"))
    make_raw(tmp_path / "broken")
    with monkeypatch.context() as patch:
        stopped_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken")
    assert not (tmp_path / "broken/variants/median").exists()
    assert not (tmp_path / "broken/variants/median.json").exists()
    calls = stopped_after(monkeypatch, 100)
    run(tmp_path / "broken")
    assert len(calls) == 7 - 3
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


@pytest.mark.parametrize("change", ["params", "labels", "images"])
def test_what_an_interrupted_run_of_other_work_left_is_not_used(tmp_path, monkeypatch, change):
    make_raw(tmp_path)
    with monkeypatch.context() as patch:
        stopped_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    manifest = storage.read_table(tmp_path / "manifest.parquet")
    if change == "labels":
        manifest["label"] = manifest["label"].map({"Elliptical": "Other", "Other": "Elliptical"})
    if change == "images":
        flipped = storage.read_image(tmp_path / "raw/images/0008.png")[::-1]
        storage.write_image(tmp_path / "raw/images/0008.png", flipped)
        manifest.loc[7, "sha256"] = storage.digest_file(tmp_path / "raw/images/0008.png")
    storage.write_table(tmp_path / "manifest.parquet", manifest)
    calls = stopped_after(monkeypatch, 100)
    run(tmp_path, MedianParams(kernel=5) if change == "params" else PARAMS)
    assert len(calls) == 7


def test_the_card_of_an_earlier_run_is_gone_while_a_new_one_is_unfinished(tmp_path, monkeypatch):
    run(make_raw(tmp_path))
    before = contents(tmp_path / "variants/median")
    stopped_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, MedianParams(kernel=5))
    assert not (tmp_path / "variants/median.json").exists()
    assert contents(tmp_path / "variants/median") == before


@pytest.mark.parametrize("failing", ["write_report", "card"])
def test_a_failure_at_the_end_leaves_no_card(tmp_path, monkeypatch, failing):
    make_raw(tmp_path)

    def fail(*_):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(f"galmorph.edge.denoising.{failing}", fail)
        with pytest.raises(RuntimeError):
            run(tmp_path)
    assert not (tmp_path / "variants/median.json").exists()
    run(tmp_path)


def test_what_a_killed_writer_left_does_not_stay(tmp_path, monkeypatch):
    make_raw(tmp_path)
    with monkeypatch.context() as patch:
        stopped_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    partial = next((tmp_path / "variants").glob(".median.partial"))
    (partial / ".0005.abc123.partial.png").write_bytes(b"half a PNG")
    run(tmp_path)
    assert sorted(path.name for path in (tmp_path / "variants/median").iterdir()) == [
        f"{cataid}.png" for cataid in accepted(tmp_path)["CATAID"]
    ]


def test_a_galaxy_that_is_no_longer_accepted_leaves_the_variant(tmp_path):
    run(make_raw(tmp_path))
    manifest = storage.read_table(tmp_path / "manifest.parquet")
    manifest.loc[0, "accepted"] = False
    storage.write_table(tmp_path / "manifest.parquet", manifest)
    assert run(tmp_path)["images"] == 6
    assert not (tmp_path / "variants/median/0001.png").exists()


def test_an_image_that_changed_since_validation_is_named(tmp_path):
    make_raw(tmp_path)
    path = tmp_path / "raw/images/0004.png"
    storage.write_image(path, storage.read_image(path)[::-1])
    with pytest.raises(ImageError, match=r"images/0004\.png: the file has changed since it was validated.*Received: "):
        run(tmp_path)


def test_a_missing_image_is_named(tmp_path):
    make_raw(tmp_path)
    (tmp_path / "raw/images/0004.png").unlink()
    with pytest.raises(InputError, match=r"images/0004\.png: no such file"):
        run(tmp_path)


def test_no_galaxy_is_an_error(tmp_path):
    make_raw(tmp_path)
    manifest = storage.read_table(tmp_path / "manifest.parquet").assign(accepted=False)
    storage.write_table(tmp_path / "manifest.parquet", manifest)
    with pytest.raises(InputError, match="0 accepted galaxies"):
        run(tmp_path)


def test_no_space_left_keeps_what_is_finished(tmp_path, monkeypatch):
    make_raw(tmp_path)
    written = []

    def full(path, image):
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path.name)
        path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_image", full)
        with pytest.raises(StorageError, match="no space left"):
            run(tmp_path)
    calls = stopped_after(monkeypatch, 100)
    run(tmp_path)
    assert len(calls) == 7 - 4


def test_the_sheet_shows_galaxies_of_both_classes(tmp_path):
    run(make_raw(tmp_path), NlmParams(strength=8, template=5, search=11), "nlm")
    sheet = storage.read_image(tmp_path / "reports/denoise/nlm/sheet.png")
    assert sheet.shape[0] > sheet.shape[1] > 900  # six rows of four columns
