import cv2
import numpy as np
import pytest

from galmorph.data.augmentation import affine_maps, augment, centre, draw, generator, warp
from galmorph.data.dataset import prepare
from galmorph.params import AugmentationParams, PreprocessParams, strengthened

STILL = AugmentationParams(
    rotation=0, quarter_turns=False, shift=0, shear=0, zoom=0, scale=(1, 1), context=1,
    horizontal_flip=False, vertical_flip=False, brightness=0, noise=0, fill="nearest",
)  # fmt: skip
COUNT = 4000


def only(**changes) -> AugmentationParams:
    return STILL.model_copy(update=changes)


PUBLISHED = only(rotation=20, shift=0.2, shear=0.2, zoom=0.2, horizontal_flip=True)


def spot(side: int, row: float, column: float, sigma: float, stretch: float = 1.0) -> np.ndarray:
    """One source; `stretch` times longer along the rows than along the columns."""
    rows, columns = np.mgrid[:side, :side]
    light = 200 * np.exp(-(((rows - row) / sigma) ** 2 + ((columns - column) / sigma / stretch) ** 2) / 2)
    return np.repeat(light[..., None], 3, -1).astype(np.uint8)


def moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of light (x, y), and the covariance of the light about it."""
    light = image[..., 0].astype(float)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    points = np.stack([columns.ravel(), rows.ravel()])
    mean = points @ light.ravel() / light.sum()
    return mean, np.cov(points, aweights=light.ravel(), bias=True)


def shown(image: np.ndarray, params: AugmentationParams, count: int = 400, size: int | None = None) -> np.ndarray:
    images = np.repeat(image[None], count, 0)
    return augment(images, params, size or image.shape[0], generator(3, 1))


def is_uniform(values: np.ndarray, low: float, high: float) -> None:
    """First four moments and the ends of a uniform distribution, each within four standard errors."""
    n, unit = len(values), (np.asarray(values, float) - low) / (high - low)
    assert unit.min() >= -1e-6
    assert unit.max() <= 1 + 1e-6
    assert unit.min() < 10 / n
    assert unit.max() > 1 - 10 / n
    for power in (1, 2, 3, 4):
        expected, variance = 1 / (power + 1), 1 / (2 * power + 1) - 1 / (power + 1) ** 2
        assert np.mean(unit**power) == pytest.approx(expected, abs=4 * np.sqrt(variance / n))


def is_fair(values: np.ndarray, kinds: list[float]) -> None:
    assert sorted(set(values)) == kinds
    for kind in kinds:
        share = 1 / len(kinds)
        assert np.mean(values == kind) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(values)))


class TestDrawn:
    """The distributions of what is drawn."""

    def test_the_published_row_is_image_data_generator_s(self):
        drawn = draw(PUBLISHED, COUNT, generator(0))
        is_uniform(drawn.rotation, -20, 20)
        is_uniform(drawn.shear, -0.2, 0.2)
        for axis in (0, 1):
            is_uniform(drawn.shift[:, axis], -0.2, 0.2)
            is_uniform(drawn.zoom[:, axis], 0.8, 1.2)
        is_fair(drawn.mirror[:, 0], [-1, 1])
        for same in (drawn.mirror[:, 1], drawn.scale, drawn.brightness):
            assert (same == 1).all()
        assert not drawn.turns.any()
        assert not drawn.noise.any()

    def test_keras_draws_the_same_moments(self):
        from keras.src.legacy.preprocessing.image import ImageDataGenerator

        theirs = ImageDataGenerator(
            rotation_range=20, width_shift_range=0.2, height_shift_range=0.2, shear_range=0.2, zoom_range=0.2,
            horizontal_flip=True,
        )  # fmt: skip
        side = 64
        made = [theirs.get_random_transform((side, side, 3), seed) for seed in range(2000)]
        ours = draw(PUBLISHED, 2000, generator(1))
        columns = {
            "theta": ours.rotation, "tx": ours.shift[:, 1] * side, "ty": ours.shift[:, 0] * side, "shear": ours.shear,
            "zx": ours.zoom[:, 1], "zy": ours.zoom[:, 0], "flip_horizontal": ours.mirror[:, 0] < 0,
        }  # fmt: skip
        for name, mine in columns.items():
            their = np.array([transform[name] for transform in made], float)
            assert np.mean(mine) == pytest.approx(their.mean(), abs=5 * their.std() * np.sqrt(2 / 2000)), name
            assert np.std(mine) == pytest.approx(their.std(), rel=0.06), name
            assert np.abs(mine).max() == pytest.approx(np.abs(their).max(), rel=0.02), name

    def test_what_keras_does_not_have(self):
        wide = only(scale=(0.5, 3), quarter_turns=True, vertical_flip=True, brightness=0.3, noise=6)
        drawn = draw(wide, COUNT, generator(2))
        is_uniform(np.log(drawn.scale), np.log(0.5), np.log(3))
        is_uniform(np.log(drawn.brightness), -0.3, 0.3)
        is_uniform(drawn.noise, 0, 6)
        is_fair(drawn.turns, [0, 1, 2, 3])
        is_fair(drawn.mirror[:, 1], [-1, 1])
        assert (drawn.mirror[:, 0] == 1).all()

    def test_nothing_depends_on_anything_else(self):
        everything = only(
            rotation=45, quarter_turns=True, shift=0.1, shear=5, zoom=0.2, scale=(0.5, 2), horizontal_flip=True,
            vertical_flip=True, brightness=0.3, noise=6,
        )  # fmt: skip
        drawn = draw(everything, COUNT, generator(4))
        columns = np.column_stack(
            [np.log(value) if name == "scale" else value for name, value in vars(drawn).items()]
        ).astype(float)
        between = np.corrcoef(columns.T) - np.eye(columns.shape[1])
        assert np.abs(between).max() < 4.5 / np.sqrt(COUNT)

    def test_a_wider_range_changes_nothing_else(self):
        narrow, wide = draw(PUBLISHED, 50, generator(5)), draw(strengthened(PUBLISHED, 1.5), 50, generator(5))
        np.testing.assert_allclose(wide.rotation, 1.5 * narrow.rotation)
        np.testing.assert_array_equal(wide.mirror, narrow.mirror)


class TestShown:
    """What the transforms do to images."""

    @pytest.mark.parametrize("fill", ["nearest", "black"])
    def test_no_range_means_no_change(self, fill):
        image = np.random.default_rng(0).integers(0, 256, (33, 33, 3), np.uint8)
        np.testing.assert_array_equal(shown(image, only(fill=fill), 3)[1], image)

    @pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras's legacy code
    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("fill", ["nearest", "black"])
    def test_the_fused_transform_is_keras_s_own(self, seed, fill):
        """The published recipe is ImageDataGenerator's: same draw, same picture."""
        from keras.src.legacy.preprocessing.image import apply_affine_transform

        noise = np.random.default_rng(seed).normal(0, 8, (48, 48, 3))
        image = np.clip(spot(48, 20, 29, sigma=5) + noise, 0, 255).astype(np.uint8)
        drawn = draw(PUBLISHED.model_copy(update={"shear": 12}), 1, generator(seed))
        expected = apply_affine_transform(
            image.astype(np.float32),
            theta=drawn.rotation[0], tx=48 * drawn.shift[0, 0], ty=48 * drawn.shift[0, 1], shear=drawn.shear[0],
            zx=drawn.zoom[0, 0], zy=drawn.zoom[0, 1],
            row_axis=0, col_axis=1, channel_axis=2, fill_mode={"nearest": "nearest", "black": "constant"}[fill],
            order=1,
        )  # fmt: skip
        if drawn.mirror[0, 0] < 0:
            expected = expected[:, ::-1]
        warped = warp(image[None], affine_maps(drawn, 48, 48), 48, fill)[0]
        # Keras's constant fill is sharp; ours fades out over the pixel at the border, as GPUs do.
        compared = np.ones((48, 48), bool) if fill == "nearest" else (expected > 0).all(-1) & (warped > 0).all(-1)
        compared = cv2.erode(compared.astype(np.uint8), np.ones((3, 3))) > 0 if fill == "black" else compared
        assert compared.sum() > 400
        np.testing.assert_allclose(warped[compared], expected[compared], atol=0.3)

    def test_shifts(self):
        image = spot(64, 31.5, 31.5, sigma=2)
        centres = np.array([moments(image)[0] for image in shown(image, only(shift=0.2), COUNT // 4)]) - 31.5
        np.testing.assert_allclose(centres.mean(0), 0, atol=4 * 0.4 * 64 / np.sqrt(12 * COUNT / 4))
        np.testing.assert_allclose(centres.std(0), 0.4 * 64 / np.sqrt(12), rtol=0.06)
        assert np.abs(centres).max() <= 0.2 * 64 + 0.1
        assert abs(np.corrcoef(centres.T)[0, 1]) < 0.13

    def test_shifts_are_shares_of_what_the_model_sees(self):
        image = spot(96, 47.5, 47.5, sigma=2)
        centres = np.array([moments(image)[0] for image in shown(image, only(shift=0.2), 600, size=64)]) - 31.5
        assert np.abs(centres).max() == pytest.approx(0.2 * 64, abs=0.3)

    def test_rotations(self):
        """The position angle of an elongated source."""
        angles = []
        for image in shown(spot(64, 31.5, 31.5, sigma=4, stretch=2.5), only(rotation=20), 800):
            covariance = moments(image)[1]
            angles.append(np.rad2deg(np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1]) / 2))
        assert np.mean(angles) == pytest.approx(0, abs=4 * 40 / np.sqrt(12 * 800))
        assert np.std(angles) == pytest.approx(40 / np.sqrt(12), rel=0.06)
        assert np.abs(angles).max() == pytest.approx(20, abs=0.3)

    def test_zooms_and_scale(self):
        """Each axis by itself, and both together; a zoom above 1 shrinks as in Keras, a scale above 1 enlarges."""
        image = spot(96, 47.5, 47.5, sigma=7)
        width = np.sqrt(moments(image)[1][0, 0])

        def stretches(params):
            return np.array([np.sqrt(np.diag(moments(image)[1])) for image in shown(image, params, 800)]) / width

        zoomed = 1 / stretches(only(zoom=0.2))
        assert abs(np.corrcoef(zoomed.T)[0, 1]) < 0.15
        for axis in (0, 1):
            assert zoomed[:, axis].mean() == pytest.approx(1, abs=0.02)
            assert zoomed[:, axis].std() == pytest.approx(0.4 / np.sqrt(12), rel=0.06)
        scaled = np.log(stretches(only(scale=(0.5, 1.6))))
        np.testing.assert_allclose(scaled[:, 0], scaled[:, 1], atol=0.01)
        assert scaled.min() == pytest.approx(np.log(0.5), abs=0.03)
        assert scaled.max() == pytest.approx(np.log(1.6), abs=0.03)
        assert scaled[:, 0].mean() == pytest.approx((np.log(0.5) + np.log(1.6)) / 2, abs=0.05)

    def test_shear(self):
        """Keras's shear by an angle maps (x, y) in the result to (x - y sin, y cos) in the image."""
        slopes = []
        for image in shown(spot(64, 31.5, 31.5, sigma=5), only(shear=15), 800):
            covariance = moments(image)[1]
            slopes.append(np.rad2deg(np.arcsin(covariance[0, 1] / covariance[1, 1])))
        assert np.mean(slopes) == pytest.approx(0, abs=4 * 30 / np.sqrt(12 * 800))
        assert np.std(slopes) == pytest.approx(30 / np.sqrt(12), rel=0.06)
        assert np.abs(slopes).max() == pytest.approx(15, abs=0.4)

    @pytest.mark.parametrize("context", [1, 1.5])
    def test_flips_and_quarter_turns_keep_every_pixel(self, context):
        """All eight positions, equally often, and not a level is changed."""
        image = np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8)
        size = round(48 / context)
        seen = centre(image[None], size)[0].astype(np.float32)
        turned = [np.rot90(seen, quarter) for quarter in range(4)]
        positions = [*turned, *(image[:, ::-1] for image in turned)]
        params = only(quarter_turns=True, horizontal_flip=True)
        found = [
            next(number for number, position in enumerate(positions) if np.allclose(image, position, atol=1e-3))
            for image in shown(image, params, 800, size)
        ]
        is_fair(np.array(found), list(range(8)))

    def test_context_fills_the_corners_of_a_turned_galaxy(self):
        """A chequered sky goes on into the corners; without context, edge pixels are smeared into them."""
        frame = np.kron(np.indices((20, 20)).sum(0) % 2 * 200, np.ones((6, 6))).astype(np.uint8)
        frame = np.repeat(frame[..., None], 3, -1)  # 120 pixels
        preprocess = PreprocessParams(crop=0.5, image_size=60)
        params = only(rotation=45, scale=(0.7, 0.7))

        def corner_contrast(context: float) -> float:
            seen = shown(prepare(frame, preprocess, context=context), params, 100, 60)
            corners = np.stack([seen[:, :8, :8], seen[:, -8:, :8], seen[:, :8, -8:], seen[:, -8:, -8:]])
            return float(np.abs(np.diff(corners[..., 0], axis=-1)).mean())

        assert corner_contrast(2.0) > 2 * corner_contrast(1.0)

    def test_black_is_black(self):
        image = np.full((40, 40, 3), 100, np.uint8)
        seen = shown(image, only(scale=(0.5, 0.5), fill="black"), 2)[0]
        np.testing.assert_array_equal(seen[:9], 0)
        np.testing.assert_array_equal(seen[11:29, 11:29], 100)
        assert (shown(image, only(scale=(0.5, 0.5)), 2)[0] == 100).all()

    def test_brightness(self):
        seen = shown(np.full((8, 8, 3), 50, np.uint8), only(brightness=0.4), COUNT)
        assert (seen == seen[:, :1, :1, :1]).all()
        is_uniform(np.log(seen[:, 0, 0, 0] / 50), -0.4, 0.4)
        assert shown(np.full((8, 8, 3), 250, np.uint8), only(brightness=0.4)).max() == 255

    def test_noise(self):
        seen = shown(np.full((32, 32, 3), 128, np.uint8), only(noise=10), 800) - 128
        deviations = seen.std((1, 2, 3))
        assert seen.mean() == pytest.approx(0, abs=0.05)
        assert deviations.mean() == pytest.approx(5, rel=0.05)
        assert deviations.std() == pytest.approx(10 / np.sqrt(12), rel=0.06)
        between_pixels = np.corrcoef(seen[:, 0, 0, 0] / deviations, seen[:, 0, 0, 1] / deviations)[0, 1]
        assert abs(between_pixels) < 0.15
        bright = shown(np.full((32, 32, 3), 254, np.uint8), only(noise=10))
        assert bright.max() == 255

    def test_the_same_seed_shows_the_same(self):
        images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
        params = PUBLISHED.model_copy(update={"brightness": 0.2, "noise": 4})
        first, again, other = (augment(images, params, 16, generator(seed, 2)) for seed in (-7, -7, 7))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert first.dtype == np.float32


class TestStrengthened:
    ROW = only(rotation=40, shift=0.3, shear=10, zoom=0.4, scale=(0.64, 1.44), context=1.5, brightness=0.2, noise=4)

    def test_all_ranges_are_multiplied(self):
        twice = strengthened(self.ROW, 0.5)
        expected = {
            "rotation": 20, "shift": 0.15, "shear": 5, "zoom": 0.2, "scale": (0.8, 1.2), "brightness": 0.1, "noise": 2,
        }  # fmt: skip
        for name, value in expected.items():
            assert getattr(twice, name) == pytest.approx(value), name
        unchanged = set(AugmentationParams.model_fields) - set(expected)
        assert all(getattr(twice, name) == getattr(self.ROW, name) for name in unchanged)

    def test_once_is_the_row_itself(self):
        assert strengthened(self.ROW, 1.0) == self.ROW

    def test_none_leaves_flips_and_turns(self):
        flipping = only(quarter_turns=True, horizontal_flip=True, vertical_flip=True)
        moving = flipping.model_copy(update={"rotation": 40, "scale": (0.5, 2), "noise": 3, "shift": 0.2})
        assert strengthened(moving, 0.0) == flipping

    @pytest.mark.parametrize("strength", [10, 1e4, 1e12])
    def test_ranges_end_where_they_are_valid(self, strength):
        much = strengthened(self.ROW, strength)
        assert (much.rotation, much.shift) == (180, 1)
        assert 80 < much.shear < 90
        assert 0.99 < much.zoom < 1
        assert 0 < much.scale[0] < 0.1 < 10 < much.scale[1]

    def test_train_takes_the_strengthened_row(self, params):
        train = params.train.model_copy(update={"augmentation": "published", "augmentation_strength": 0.5})
        assert train.transforms.rotation == train.augmentations["published"].rotation / 2
        assert train.model_copy(update={"augmentation": None}).transforms is None
