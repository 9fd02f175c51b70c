"""The runtime: its answers, its refusals, many threads, and that it needs no TensorFlow."""

import json
import shutil
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

from galmorph.cpu import FACTS as CPU_FACTS
from galmorph.cpu import cpu_has_bfloat16
from galmorph.data.dataset import prepare
from galmorph.data.denoise import denoise
from galmorph.errors import ImageError, ModelError, ParamsError
from galmorph.params import MedianParams, TvParams
from galmorph.serving.export import Origin, export
from galmorph.serving.exported import digests
from galmorph.serving.graph import chosen_precision
from galmorph.serving.runtime import Runtime, load, piece
from galmorph.storage import write_image, write_json
from tests.convolutional import galaxies, made
from tests.exporting import exported, facts_of

SIDE = 24


@pytest.fixture(scope="module")
def folder(params, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    exported(made(params, "regularised"), folder, denoiser=MedianParams(kernel=5).model_dump(), variant="median")
    return folder


@pytest.fixture(scope="module")
def runtime(folder):
    return Runtime(folder, "f32", 2)


@pytest.fixture
def copy(folder, tmp_path):
    """Of the exported folder, to be spoilt."""
    return shutil.copytree(folder, tmp_path / "model")


class TestAnswer:
    @pytest.mark.parametrize("count", [0, 1, 2, 7, 33, 150])
    def test_any_number_in_order(self, runtime, count):
        images, _ = galaxies(150, SIDE, 4)
        one_by_one = np.array([runtime.answer(image[None], maps=False).p_elliptical[0] for image in images[:count]])
        found = runtime.answer(images[:count], maps=True)
        assert found.p_elliptical.shape == (count,)
        assert found.p_elliptical.dtype == np.float64
        assert found.maps.shape[0] == count
        assert found.maps.dtype == np.float32
        np.testing.assert_allclose(found.p_elliptical, one_by_one, atol=1e-6)
        assert count < 2 or np.ptp(one_by_one) > 1e-4

    def test_maps_are_given_where_they_are_wanted(self, runtime):
        images, _ = galaxies(3, SIDE, 4)
        assert runtime.answer(images, maps=False).maps is None
        assert runtime.answer(images, maps=True).maps.any()

    def test_images_that_are_not_contiguous(self, runtime):
        images, _ = galaxies(40, SIDE, 4)
        expected = runtime.answer(images[::2].copy(), maps=False).p_elliptical
        np.testing.assert_array_equal(runtime.answer(images[::2], maps=False).p_elliptical, expected)

    @pytest.mark.parametrize(
        "images",
        [
            np.zeros((2, SIDE, SIDE, 3), np.float32),
            np.zeros((2, SIDE, SIDE + 1, 3), np.uint8),
            np.zeros((SIDE, SIDE, 3), np.uint8),
        ],
    )
    def test_other_images_are_refused(self, runtime, images):
        with pytest.raises(ModelError, match=r"galmorph/3 takes \(N, 24, 24, 3\) uint8.*Received: \("):
            runtime.answer(images, maps=False)

    def test_many_threads_get_their_own_answers(self, runtime):
        """More callers than requests, each with several pieces."""
        images, _ = galaxies(240, SIDE, 4)
        expected = runtime.answer(images, maps=True)
        wrong, barrier = [], threading.Barrier(8)

        def ask(number: int) -> None:
            barrier.wait()
            for turn in range(6):
                chosen = slice(number * 20, number * 20 + 70 + turn)
                found = runtime.answer(images[chosen], maps=True)
                same = np.allclose(found.p_elliptical, expected.p_elliptical[chosen], atol=1e-6)
                if not same or not np.allclose(found.maps, expected.maps[chosen], rtol=1e-4, atol=1e-6):
                    wrong.append((number, turn))

        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "they wait for each other"
        assert not wrong

    def test_a_caller_that_fails_keeps_no_request(self, runtime):
        """As where memory for the answers runs out: the next one must not wait for ever."""
        images, _ = galaxies(100, SIDE, 4)
        for _ in range(4):
            outputs = runtime._outputs(images)
            next(outputs)
            outputs.close()
        assert len(runtime.answer(images, maps=False).p_elliptical) == 100

    def test_warming_up_changes_nothing(self, runtime):
        images, _ = galaxies(5, SIDE, 4)
        before = runtime.answer(images, maps=False).p_elliptical
        runtime.warm_up()
        np.testing.assert_array_equal(runtime.answer(images, maps=False).p_elliptical, before)


@pytest.mark.parametrize(
    ("images", "idle", "expected"),
    [(1, 1, 1), (1, 16, 1), (5, 1, 4), (6, 1, 6), (7, 2, 3), (16, 2, 8), (33, 1, 32), (1000, 1, 32), (1000, 100, 8)],
)
def test_pieces_are_of_few_sizes_and_leave_work_for_others(images, idle, expected):
    assert piece(images, idle) == expected


def test_a_lone_caller_has_all_streams_and_two_share_them(runtime):
    """Many small pieces cost more than a few large ones, so a batch is only cut where somebody idles."""
    images, _ = galaxies(24, SIDE, 4)
    streams = runtime._streams
    sizes = [part.stop - part.start for part, _ in runtime._outputs(images)]
    assert sizes[0] == piece(24, streams)
    assert sum(sizes) == 24
    taken = [runtime._idle.get() for _ in range(streams - 1)]
    try:
        assert [part.stop - part.start for part, _ in runtime._outputs(images)] == [24]
    finally:
        for request in taken:
            runtime._idle.put(request)


def test_labels(runtime):
    assert runtime.labels(np.array([0.49, 0.5, 0.9])) == ["Other", "Elliptical", "Elliptical"]


class TestPrepare:
    def test_it_denoises_as_the_variant_was(self, runtime):
        (cutout,), _ = galaxies(1, 80, 5)
        expected = prepare(denoise(cutout, MedianParams(kernel=5)), runtime.facts.preprocess)
        np.testing.assert_array_equal(runtime.prepare(cutout), expected)
        assert (prepare(cutout, runtime.facts.preprocess) != expected).any()

    def test_not_twice(self, runtime):
        (cutout,), _ = galaxies(1, 80, 5)
        expected = prepare(cutout, runtime.facts.preprocess)
        np.testing.assert_array_equal(runtime.prepare(cutout, denoised=True), expected)

    def test_what_is_no_image_is_refused(self, runtime):
        with pytest.raises(ImageError, match=r"uint8 RGB\. Received"):
            runtime.prepare(np.zeros((5, 5), np.uint8))

    def test_a_denoiser_that_is_not_installed_is_told_at_once(self, params, tmp_path, monkeypatch):
        denoiser = TvParams(weight=0.1, tolerance=1e-3, max_iterations=5).model_dump()
        exported(made(params, "baseline"), tmp_path / "model", denoiser=denoiser, variant="tv")
        monkeypatch.setitem(sys.modules, "skimage", None)
        with pytest.raises(ModelError, match=r"scikit-image, which is not installed.*pip install scikit-image"):
            Runtime(tmp_path / "model", "f32", 1)


class TestPrecision:
    def test_auto_is_what_the_cpu_computes_fast(self):
        assert chosen_precision("auto", True) == "bf16"
        assert chosen_precision("auto", False) == "f32"
        assert chosen_precision("f32", True) == "f32"
        assert chosen_precision("bf16", True) == "bf16"

    def test_bfloat16_is_not_emulated(self, folder, monkeypatch, tmp_path):
        monkeypatch.setattr("galmorph.serving.runtime.CPU_FACTS", tmp_path / "none")
        assert Runtime(folder, "auto", 1).precision == "f32"
        with pytest.raises(ParamsError, match=r"no bfloat16 instructions.*Received: bf16"):
            Runtime(folder, "bf16", 1)

    @pytest.mark.skipif(not cpu_has_bfloat16(CPU_FACTS), reason="this CPU has no bfloat16 instructions")
    def test_a_model_that_bfloat16_harms_is_computed_in_float32(self, params, tmp_path, caplog):
        """One whose logit is a thousand times as steep, and which the probes leave near the line."""
        cutouts = galaxies(3, 80, 5)[0]
        for seed, cutout in enumerate(cutouts):
            write_image(tmp_path / "probes" / f"{seed}.png", cutout)
        found = {}
        for steepness in (1, 1000):
            model = made(params, "regularised")
            seen = np.stack([prepare(cutout, facts_of(model).preprocess) for cutout in cutouts]).astype(np.float32)
            logit = model.get_layer("logit")
            kernel, bias = logit.get_weights()
            middle = np.median(keras.Model(model.input, logit.output).predict(seen, verbose=0))
            logit.set_weights([steepness * kernel, steepness * (bias - middle)])
            folder = tmp_path / f"model{steepness}"
            origin = Origin("galmorph", 3, "m" * 64, "2026-11-01T00:00:00+00:00")
            export(model, facts_of(model), folder, origin, None, {"probes": tmp_path / "probes"})
            found[steepness] = Runtime(folder, "auto", 1).precision
            assert Runtime(folder, "bf16", 1).precision == "bf16", "asked for, it is what is done"
        assert found == {1: "bf16", 1000: "f32"}
        assert caplog.text.count("galmorph/3 computes in f32: bf16 moves p_elliptical by up to 0.") == 1

    @pytest.mark.skipif(not cpu_has_bfloat16(CPU_FACTS), reason="this CPU has no bfloat16 instructions")
    def test_what_sure_answers_hide_the_probes_show(self, params, tmp_path):
        """A step for a sigmoid: rounding moves nothing but what lies on its edge."""
        cutouts = galaxies(40, 80, 5)[0]
        model = made(params, "regularised")
        seen = np.stack([prepare(cutout, facts_of(model).preprocess) for cutout in cutouts]).astype(np.float32)
        logit = model.get_layer("logit")
        logits = keras.Model(model.input, logit.output).predict(seen, verbose=0)[:, 0]
        order = np.argsort(logits)
        for name, chosen in {"examples": order[[0, -1]], "probes": order[[20]]}.items():
            for at in chosen:
                write_image(tmp_path / name / f"{at}.png", cutouts[at])
        kernel, bias = logit.get_weights()
        logit.set_weights([1e5 * kernel, 1e5 * (bias - logits[order[20]])])
        origin = Origin("galmorph", 3, "m" * 64, "2026-11-01T00:00:00+00:00")
        for names, expected in ((("examples",), "bf16"), (("examples", "probes"), "f32")):
            shown = {name: tmp_path / name for name in names}
            export(model, facts_of(model), tmp_path / "model", origin, None, shown)
            assert Runtime(tmp_path / "model", "auto", 1).precision == expected


class TestDamage:
    def test_no_folder(self, tmp_path):
        with pytest.raises(ModelError, match=r"no such folder.*models:/NAME@ALIAS"):
            Runtime(tmp_path / "none", "f32", 1)

    def test_another_folder(self, tmp_path):
        with pytest.raises(ModelError, match=r"digests\.json is missing.*an empty folder"):
            Runtime(tmp_path, "f32", 1)

    @pytest.mark.parametrize("name", ["model.xml", "model.bin", "facts.json"])
    def test_a_changed_file(self, copy, name):
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}: changed or damaged.*Received: SHA-256"):
            Runtime(copy, "f32", 1)

    @pytest.mark.parametrize("name", ["model.xml", "model.bin", "facts.json"])
    def test_a_missing_file(self, copy, name):
        (copy / name).unlink()
        with pytest.raises(ModelError, match=rf"{name} is missing"):
            Runtime(copy, "f32", 1)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"model.xml": 1}', '{"model.xml": "a", "model.bin": "b"}'])
    def test_digests_that_are_none(self, copy, content):
        (copy / "digests.json").write_text(content)
        with pytest.raises(ModelError, match=r"digests\.json: (not JSON|must name)"):
            Runtime(copy, "f32", 1)

    def changed(self, copy, name, change) -> None:
        """Change a file, and the digests with it."""
        (copy / name).write_bytes(change((copy / name).read_bytes()))
        write_json(copy / "digests.json", digests(copy))

    def test_facts_of_another_version(self, copy):
        self.changed(copy, "facts.json", lambda content: json.dumps({**json.loads(content), "new": 1}).encode())
        with pytest.raises(ModelError, match=r"facts\.json: not the facts that this galmorph writes"):
            Runtime(copy, "f32", 1)

    @pytest.mark.parametrize(("key", "value"), [("preprocess", {"crop": 0.5, "image_size": 25}), ("heat_maps", False)])
    def test_facts_of_another_graph(self, copy, key, value):
        self.changed(copy, "facts.json", lambda content: json.dumps({**json.loads(content), key: value}).encode())
        with pytest.raises(
            ModelError, match=r"model\.xml: must take .*Received: \[\?,24,24,3\] \[\?,1\] \[\?,\d,\d\], u8"
        ):
            Runtime(copy, "f32", 1)

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("model.xml", lambda content: content[: len(content) // 2]),
            ("model.xml", lambda _: b"random bytes"),
            ("model.bin", lambda content: content[: len(content) // 2]),
        ],
    )
    def test_what_openvino_cannot_read(self, copy, name, change):
        self.changed(copy, name, change)
        with pytest.raises(ModelError, match=r"model\.xml: OpenVINO cannot load it"):
            Runtime(copy, "f32", 1)


def test_load_takes_a_folder(folder, tmp_path):
    assert load(str(folder), tmp_path).facts.name == "galmorph/3"


def test_it_answers_without_tensorflow(folder, tmp_path):
    """As in the serving install: what is not there cannot be imported, and what is there is not used."""
    images, _ = galaxies(3, SIDE, 4)
    np.save(tmp_path / "images.npy", images)
    script = f"""
import sys
absent = ("tensorflow", "keras", "sqlalchemy", "alembic", "sklearn", "scipy", "skimage", "matplotlib", "pywt", "h5py")
sys.modules.update(dict.fromkeys(absent))
import numpy as np
from pathlib import Path
from galmorph.serving.runtime import load
runtime = load({str(folder)!r}, Path("none"))
answers = runtime.answer(np.load("images.npy"), maps=True)
print(answers.p_elliptical.tolist(), answers.maps.shape, "mlflow" in sys.modules)
try:
    load("models:/galmorph@champion", Path("none"))
except Exception as error:
    print(type(error).__name__, error)
"""
    environment = {"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    answered, refused = done.stdout.splitlines()
    assert answered.endswith("(3, 3, 3) False") or "(3, " in answered
    assert answered.endswith("False"), "MLflow is imported for a folder"
    expected = Runtime(folder, "auto", None).answer(images, maps=False).p_elliptical
    np.testing.assert_allclose(json.loads(answered[: answered.index("]") + 1]), expected, atol=1e-6)
    assert refused.startswith(
        "TrackingError MLFLOW_TRACKING_URI: this installation reads the registry of an MLflow ser"
    )
    assert "http://HOST:PORT" in refused


def test_keras_is_not_imported_by_importing_the_runtime():
    script = "import sys, galmorph.serving.runtime; print(sorted({'keras', 'tensorflow', 'mlflow'} & set(sys.modules)))"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert keras.__version__  # it could be
