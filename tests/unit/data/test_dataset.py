import subprocess
import sys

import numpy as np
import pytest

from galmorph.data import dataset
from galmorph.data.augmentation import centre
from galmorph.errors import InputError
from galmorph.params import AugmentationParams, PreprocessParams

EVERYTHING = AugmentationParams(
    rotation=45, quarter_turns=True, shift=0.05, shear=2, zoom=0.1, scale=(0.65, 1.6), context=1.5,
    horizontal_flip=True, vertical_flip=True, brightness=0.2, noise=5, fill="nearest",
)  # fmt: skip
PUBLISHED = EVERYTHING.model_copy(
    update={"quarter_turns": False, "scale": (1, 1), "vertical_flip": False, "brightness": 0, "noise": 0}
)
STILL = AugmentationParams(
    rotation=0, quarter_turns=False, shift=0, shear=0, zoom=0, scale=(1, 1), context=1,
    horizontal_flip=False, vertical_flip=False, brightness=0, noise=0, fill="nearest",
)  # fmt: skip


def spot(height: int, width: int, row: float, column: float, sigma: float = 4.0) -> np.ndarray:
    """An image with one round source."""
    rows, columns = np.mgrid[:height, :width]
    light = 200 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
    return np.repeat(light[..., None], 3, -1).astype(np.uint8)


def centre_of_light(light: np.ndarray) -> tuple[float, float]:
    light = light.astype(float)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    return (rows * light).sum() / light.sum(), (columns * light).sum() / light.sum()


def test_one_stands_for_elliptical():
    np.testing.assert_array_equal(dataset.targets(["Elliptical", "Other", "Elliptical"]), np.float32([1, 0, 1]))


@pytest.mark.parametrize(("height", "width"), [(300, 300), (301, 299), (120, 200), (40, 40)])
@pytest.mark.parametrize("crop", [1.0, 0.6, 0.33])
@pytest.mark.parametrize("size", [64, 97])
def test_the_crop_is_centred_whatever_the_frame(height, width, crop, size):
    params = PreprocessParams(crop=crop, image_size=size)
    prepared = dataset.prepare(spot(height, width, (height - 1) / 2, (width - 1) / 2, sigma=3), params)
    assert prepared.shape == (size, size, 3)
    assert prepared.dtype == np.uint8
    scale = size / (crop * min(height, width))
    np.testing.assert_allclose(centre_of_light(prepared[..., 0]), (size - 1) / 2, atol=0.51 * max(1, scale))


def test_channels_keep_their_order():
    image = np.zeros((50, 50, 3), np.uint8)
    image[..., 0] = 200
    prepared = dataset.prepare(image, PreprocessParams(crop=0.5, image_size=16))
    np.testing.assert_array_equal(prepared.reshape(-1, 3).max(0), [200, 0, 0])


def test_shrinking_averages():
    """Single hot pixels on a grid must not alias: the mean is kept."""
    image = np.zeros((240, 240, 3), np.uint8)
    image[::4, ::4] = 240
    prepared = dataset.prepare(image, PreprocessParams(crop=1, image_size=60))
    np.testing.assert_allclose(prepared, 15, atol=1)


def texture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("frame", [(300, 300), (301, 299), (61, 83)])
@pytest.mark.parametrize("crop", [1.0, 0.6, 0.37])
@pytest.mark.parametrize("size", [64, 97, 224])
@pytest.mark.parametrize("context", [1.3, 1.5, 2])
def test_the_middle_of_the_context_is_what_the_model_sees(frame, crop, size, context):
    """Also where a pixel of the result begins between two of the frame, and where the context ends past it."""
    image, params = texture(*frame), PreprocessParams(crop=crop, image_size=size)
    seen = dataset.prepare(image, params)
    for fill in ("nearest", "black"):
        wide = dataset.prepare(image, params, context=context, fill=fill)
        assert wide.shape[0] == dataset.context_size(size, context) >= context * size
        middle = centre(wide[None], size)[0]
        assert np.abs(middle.astype(int) - seen).max() <= 1


def test_the_context_shows_the_surroundings():
    image = spot(300, 300, 149.5, 251.0, sigma=4)  # outside a crop of 0.6
    params = PreprocessParams(crop=0.6, image_size=60)
    assert dataset.prepare(image, params).max() <= 1
    wide = dataset.prepare(image, params, context=1.5)
    np.testing.assert_allclose(centre_of_light(wide[..., 0]), (44.5, 44.5 + 101.5 / 3), atol=0.2)


@pytest.mark.parametrize(("fill", "outside"), [("black", 0), ("nearest", 90)])
@pytest.mark.parametrize("size", [20, 80])
def test_past_the_frame_is_what_was_asked_for(fill, outside, size):
    image = np.full((40, 40, 3), 90, np.uint8)
    prepared = dataset.prepare(image, PreprocessParams(crop=1, image_size=size), context=2, fill=fill)
    edge = size // 2
    np.testing.assert_array_equal(prepared[: edge - 1], outside)
    np.testing.assert_array_equal(prepared[:, edge + size + 1 :], outside)
    np.testing.assert_array_equal(prepared[edge : edge + size, edge : edge + size], 90)


@pytest.mark.parametrize("zoom", [0.5, 0.6, 0.75, 1.0, 1.35, 1.7, 4])
def test_a_zoomed_galaxy_looks_that_much_larger(zoom):
    image = spot(300, 300, 149.5, 149.5, sigma=12)
    prepared = dataset.prepare(image, PreprocessParams(crop=0.5, image_size=100), zoom=zoom).astype(float)[..., 0]
    # The light of a Gaussian spot is 2πσ² times its peak.
    sigma = np.sqrt(prepared.sum() / prepared.max() / (2 * np.pi))
    if zoom <= 1.35:  # beyond, the spot is wider than the crop
        assert sigma == pytest.approx(12 * zoom * 100 / 150, rel=0.05)
    np.testing.assert_allclose(centre_of_light(prepared), 49.5, atol=0.1)


def test_zooming_is_cropping():
    image = texture(300, 300)
    zoomed = dataset.prepare(image, PreprocessParams(crop=0.6, image_size=50), zoom=1.2)
    np.testing.assert_array_equal(zoomed, dataset.prepare(image, PreprocessParams(crop=0.5, image_size=50)))


def test_zooming_out_past_the_frame_is_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    prepared = dataset.prepare(image, PreprocessParams(crop=0.8, image_size=80), zoom=0.5)
    np.testing.assert_array_equal(prepared[15:65, 15:65], 200)  # 160 pixels in 80, of which the frame fills 50
    assert prepared[..., 0].astype(int).sum() == 200 * 50 * 50


@pytest.mark.parametrize("crop", [1.0, 0.6])
def test_an_attribution_lands_where_the_source_is(crop):
    params = PreprocessParams(crop=crop, image_size=64)
    image = spot(300, 300, 171, 122, sigma=6)
    back = dataset.to_frame(dataset.prepare(image, params)[..., 0], 300, 300, params)
    assert back.shape == (300, 300)
    np.testing.assert_allclose(centre_of_light(back), (171, 122), atol=0.5)


def test_what_the_model_did_not_see_is_zero():
    params = PreprocessParams(crop=0.5, image_size=32)
    frame = dataset.to_frame(np.ones((32, 32)), 100, 100, params)
    assert frame[25:75, 25:75].all()
    assert frame.sum() == pytest.approx(50 * 50)


def test_a_map_without_evidence_is_told():
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0], maps[1, 1, 0] = -1, 0.1
    assert dataset.without_evidence(maps).tolist() == [True, False, True]
    assert dataset.without_evidence(-maps.reshape(3, 4)).tolist() == [False, True, True]
    assert dataset.without_evidence(np.zeros((0, 2, 2))).tolist() == []


def numbered(count: int = 21, side: int = 16) -> np.ndarray:
    """Noise images whose pixel in the middle says which they are."""
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    images[:, side // 2, side // 2, 0] = np.arange(count)
    return images


def _batches(images=None, **changes) -> list[tuple[np.ndarray, np.ndarray]]:
    images = numbered() if images is None else images
    arguments = {"batch_size": 8, "seed": 5, "augmentation": None, "epochs": [0], **changes}
    made = dataset.training_batches(images, np.arange(len(images), dtype=np.float32) % 2, **arguments)
    return [(image.numpy(), y.numpy()) for image, y in made]


def test_an_epoch_shows_every_galaxy_once_with_its_own_target():
    batches = _batches()
    assert [len(y) for _, y in batches] == [8, 8, 5]
    ids = np.concatenate([image[:, 8, 8, 0] for image, _ in batches])
    assert sorted(ids) == list(range(21))
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches])[:, 0], ids % 2)
    assert batches[0][0].dtype == np.float32


@pytest.mark.parametrize("augmentation", [None, PUBLISHED, EVERYTHING])
def test_an_epoch_is_the_same_after_a_resume(augmentation):
    whole = _batches(epochs=[0, 1, 2], augmentation=augmentation)
    resumed = _batches(epochs=[1, 2], augmentation=augmentation)
    for (image, y), (again, y_again) in zip(whole[3:], resumed, strict=True):
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(y, y_again)


def test_epochs_and_seeds_differ():
    first, second = _batches(epochs=[0, 1])[0][0], _batches(epochs=[0, 1])[3][0]
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, _batches(seed=6)[0][0])


@pytest.fixture
def on_disk(tmp_path):
    """The same images as `numbered(side=24)`, memory-mapped."""
    np.save(tmp_path / "images.npy", numbered(side=24))
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.mark.parametrize("augmentation", [None, EVERYTHING])
def test_batches_from_disk_are_those_from_memory(on_disk, augmentation):
    changes = {"augmentation": augmentation, "epochs": [0, 1], "image_size": 16}
    for (image, y), (again, y_again) in zip(
        _batches(numbered(side=24), **changes), _batches(on_disk, **changes), strict=True
    ):
        assert image.shape[1:] == (16, 16, 3)
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(y, y_again)


def test_without_augmentation_the_middle_is_shown(on_disk):
    for images in (numbered(side=24), on_disk):
        (image, y), *_ = dataset.batches(images, np.ones(21, np.float32), 8, image_size=16).as_numpy_iterator()
        np.testing.assert_array_equal(image, images[:8, 4:20, 4:20])
        assert (image.dtype, y.shape) == (np.float32, (8, 1))
        by_galaxy = {image[8, 8, 0]: image for batch, _ in _batches(images, image_size=16) for image in batch}
        np.testing.assert_array_equal(by_galaxy[images[7, 12, 12, 0]], images[7, 4:20, 4:20])


def test_images_that_cannot_be_cut_evenly_are_refused():
    for side in (25, 14):
        with pytest.raises(InputError, match=f"by an even number.*Received: {side} pixels"):
            _batches(numbered(side=side), image_size=16)


def test_tensorflow_knows_how_many_batches_and_their_shape():
    made = dataset.training_batches(numbered(), np.zeros(21, np.float32), 8, 1, None, [0, 1])
    assert int(made.cardinality()) == 6
    assert made.element_spec[0].shape.as_list() == [None, 16, 16, 3]
    assert made.element_spec[1].shape.as_list() == [None, 1]


def test_tensorflow_is_lent_no_memory_that_is_ours():
    """It takes over aligned arrays without a copy and computes in place: targets were overwritten on two devices."""
    held = np.zeros(256 + 16, np.float32)
    y = held[(-held.ctypes.data % 64) // 4 :][:256]
    images = numbered(256, side=8)
    for made in (dataset.batches(images, y, 32), dataset.training_batches(images, y, 32, 1, None, [0])):
        for image, target in made:
            assert not np.shares_memory(np.asarray(memoryview(target)), y)
            assert not np.shares_memory(np.asarray(memoryview(image)), images)


def _views(view: int, **changes) -> np.ndarray:
    arguments = {"augmentation": EVERYTHING, "image_size": 16, "seed": 5, "batch_size": 8, **changes}
    images = arguments.pop("images", numbered(side=24))
    return np.concatenate(list(dataset.augmented_views(images, view=view, **arguments)))


def test_views_are_in_order_and_each_its_own():
    still = STILL.model_copy(update={"context": 1.5})
    np.testing.assert_array_equal(_views(0, augmentation=still), numbered(side=24)[:, 4:20, 4:20])
    np.testing.assert_array_equal(_views(1), _views(1))
    assert _views(0).dtype == np.float32
    assert not np.array_equal(_views(0), _views(1))
    assert not np.array_equal(_views(0), _views(0, seed=6))
    assert not np.array_equal(_views(0)[:8], _batches(numbered(side=24), augmentation=EVERYTHING, image_size=16)[0][0])


def test_views_from_disk_are_those_from_memory(on_disk):
    np.testing.assert_array_equal(_views(2, images=on_disk), _views(2))


def test_what_was_written_to_a_copy_on_write_map_stays(tmp_path):
    np.save(tmp_path / "images.npy", numbered())
    mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    mapped[0] = 1
    for chosen in (slice(0, 2), np.array([0, 1])):
        dataset.rows(mapped, chosen)
        assert (mapped[0] == 1).all()


HELD = """
import os, sys
import numpy as np, psutil
from galmorph.data import dataset

def held():
    return sum(part.rss for part in psutil.Process().memory_maps() if part.path == os.path.realpath(sys.argv[1]))

images = np.load(sys.argv[1], mmap_mode="r")
y = np.zeros(len(images), np.float32)
most = 0
for made in (dataset.training_batches(images, y, 8, 1, None, [0, 1]), dataset.batches(images, y, 8)):
    for number, _ in enumerate(made):
        if number % 32 == 31:  # Linux takes its time to answer
            most = max(most, held())
print(most / images.nbytes)
images.sum()
print(held() / images.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which pages of a file are in memory")
def test_pages_of_the_file_do_not_pile_up_in_memory(tmp_path):
    """A file of 117 MiB is gone through three times; a process that kept its pages would hold all of it."""
    file = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (1024, 200, 200, 3))
    file[:] = np.arange(1024).astype(np.uint8)[:, None, None, None]
    file.flush()
    done = subprocess.run(
        [sys.executable, "-c", HELD, str(tmp_path / "images.npy")], capture_output=True, text=True, check=True
    )
    share, when_kept = map(float, done.stdout.split())
    assert share < 0.1
    assert when_kept > 0.9  # the measure itself works
