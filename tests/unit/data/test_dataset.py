import numpy as np
import pytest

from galmorph.data import dataset
from galmorph.params import AugmentationParams, PreprocessParams

NOTHING = {
    "rotation": 0, "quarter_turns": False, "shift": 0, "shear": 0, "zoom": 0, "scale": (1, 1), "context": 1,
    "horizontal_flip": False, "vertical_flip": False, "brightness": 0, "noise": 0, "fill": "nearest",
}  # fmt: skip
STILL = AugmentationParams(**NOTHING)
PUBLISHED = AugmentationParams(
    **{**NOTHING, "rotation": 20, "shift": 0.2, "shear": 0.2, "zoom": 0.2, "horizontal_flip": True}
)


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


def _transform(image: np.ndarray, unit: np.ndarray, params: AugmentationParams) -> np.ndarray:
    import tensorflow as tf

    size = image.shape[0]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None].astype(np.float32),
        transforms=dataset.affine_transforms(unit[None].astype(np.float32), params, size),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    ).numpy()[0]


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras's legacy code
@pytest.mark.parametrize("seed", range(6))
def test_the_fused_transform_is_keras_s_own(seed):
    """The published recipe is ImageDataGenerator's: same draw, same picture."""
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    rng = np.random.default_rng(seed)
    image = spot(48, 48, 20, 29, sigma=5).astype(np.float32)
    unit = rng.uniform(size=8).astype(np.float32)
    angle, tx, ty, shear, zx, zy = (2 * unit[:6] - 1) * np.array([20, 0.2 * 48, 0.2 * 48, 0.2, 0.2, 0.2])
    expected = apply_affine_transform(
        image,
        theta=angle, tx=tx, ty=ty, shear=shear, zx=1 + zx, zy=1 + zy,
        row_axis=0, col_axis=1, channel_axis=2, fill_mode="nearest", order=1,
    )  # fmt: skip
    if unit[6] < 0.5:
        expected = expected[:, ::-1]
    np.testing.assert_allclose(_transform(image, unit, PUBLISHED), expected, atol=0.3)


def test_no_range_means_no_change():
    image = spot(32, 32, 10, 20)
    np.testing.assert_allclose(_transform(image, np.full(8, 0.7), STILL), image, atol=1e-3)


def _batches(**changes) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (21, 16, 16, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(21)
    arguments = {"batch_size": 8, "seed": 5, "augmentation": None, "epochs": [0], **changes}
    made = dataset.training_batches(images, np.arange(21, dtype=np.float32) % 2, **arguments)
    return [(image.numpy(), y.numpy()) for image, y in made]


def test_an_epoch_shows_every_galaxy_once_with_its_own_target():
    batches = _batches()
    assert [len(y) for _, y in batches] == [8, 8, 5]
    ids = np.concatenate([image[:, 0, 0, 0] for image, _ in batches])
    assert sorted(ids) == list(range(21))
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches])[:, 0], ids % 2)
    assert batches[0][0].dtype == np.float32


@pytest.mark.parametrize("augmentation", [None, PUBLISHED])
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


def test_augmentation_moves_by_as_much_as_it_says():
    """First moments of the published recipe: nothing is shifted on average, and shifts spread uniformly."""
    images = np.repeat(spot(64, 64, 31.5, 31.5, sigma=2)[None], 600, 0)
    shift_only = STILL.model_copy(update={"shift": 0.2})
    made = dataset.training_batches(images, np.zeros(600, np.float32), 200, 1, shift_only, [0])
    centres = np.array([centre_of_light(image[..., 0]) for batch, _ in made for image in batch.numpy()]) - 31.5
    np.testing.assert_allclose(centres.mean(0), 0, atol=1.0)
    np.testing.assert_allclose(centres.std(0), 0.4 * 64 / np.sqrt(12), rtol=0.08)
    assert np.abs(centres).max() <= 0.2 * 64 + 0.5
