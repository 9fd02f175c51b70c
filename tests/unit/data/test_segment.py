import time

import numpy as np
import pytest

from galmorph.data.segment import segment, shape, sky_level

SIDE = 300
YY, XX = np.mgrid[0:SIDE, 0:SIDE].astype(float)


def sersic(n=1.0, radius=25.0, axis_ratio=0.5, angle=30.0, centre=(150.0, 150.0), peak=150.0):
    """A Sérsic profile whose major axis lies `angle` degrees anticlockwise from the horizontal; centre is (y, x)."""
    theta = np.radians(angle)
    dx, dy = XX - centre[1], centre[0] - YY
    along, across = dx * np.cos(theta) + dy * np.sin(theta), -dx * np.sin(theta) + dy * np.cos(theta)
    r = np.hypot(along, across / axis_ratio)
    b = 2 * n - 1 / 3
    profile = np.exp(-b * ((r / radius) ** (1 / n) - 1))
    return peak * np.minimum(profile, 8) / 8


def picture(light, noise=3.0, sky=12.0, seed=0):
    rng = np.random.default_rng(seed)
    channels = [light * colour + sky + rng.normal(0, noise, light.shape) for colour in (1.0, 0.8, 0.6)]
    return np.clip(np.stack(channels, -1), 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("axis_ratio", [0.25, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("n", [1.0, 4.0])
def test_shape_recovers_the_axis_ratio(n, axis_ratio):
    image = picture(sersic(n=n, axis_ratio=axis_ratio))
    found = shape(image, segment(image).galaxy)
    assert found.axis_ratio == pytest.approx(axis_ratio, abs=0.06)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0, 170.0])
def test_shape_recovers_the_position_angle(angle):
    image = picture(sersic(axis_ratio=0.4, angle=angle))
    found = shape(image, segment(image).galaxy).position_angle
    assert abs((found - angle + 90) % 180 - 90) < 4
    assert 0 <= found < 180


def test_radius_grows_with_the_galaxy():
    radii = []
    for radius in (10.0, 20.0, 40.0):
        image = picture(sersic(radius=radius, axis_ratio=0.7))
        radii.append(shape(image, segment(image).galaxy).radius_pixels)
    assert radii[0] < radii[1] < radii[2]
    assert radii == pytest.approx([10, 20, 40], rel=0.3)


def test_shape_does_not_depend_on_the_sky_level():
    image = picture(sersic(axis_ratio=0.4), sky=10)
    brighter = np.minimum(image.astype(int) + 40, 255).astype(np.uint8)
    mask = segment(image).galaxy
    assert shape(brighter, mask).axis_ratio == pytest.approx(shape(image, mask).axis_ratio, abs=1e-6)


def test_the_three_masks_do_not_overlap_and_the_galaxy_is_central():
    image = picture(sersic() + sersic(n=2, radius=8, axis_ratio=0.9, centre=(60, 230)))
    found = segment(image)
    assert found.galaxy[150, 150]
    assert found.neighbours[60, 230]
    assert found.sky[20, 20]
    assert not (found.galaxy & found.neighbours).any()
    assert not (found.sky & (found.galaxy | found.neighbours)).any()
    assert found.galaxy.shape == found.neighbours.shape == found.sky.shape == (SIDE, SIDE)
    assert found.galaxy.dtype == found.neighbours.dtype == found.sky.dtype == bool


def test_sky_holds_no_light_of_the_galaxy():
    image = picture(sersic(n=1, radius=30))
    found = segment(image)
    assert image[found.sky].mean() == pytest.approx(12, abs=0.4)


def test_the_central_object_wins_over_a_brighter_one():
    image = picture(sersic(peak=60) + sersic(radius=20, axis_ratio=0.9, centre=(60, 60), peak=220))
    found = segment(image)
    assert found.galaxy[150, 150]
    assert found.neighbours[60, 60]


def test_a_touching_star_is_a_neighbour():
    galaxy = sersic(n=1, radius=30, axis_ratio=0.6, angle=0)
    star = 180 * np.exp(-((XX - 200) ** 2 + (YY - 150) ** 2) / (2 * 4.0**2))
    image = picture(galaxy + star)
    found = segment(image)
    assert found.neighbours[150, 200]
    assert not found.galaxy[150, 200]
    assert found.galaxy[150, 150]
    alone = segment(picture(galaxy)).galaxy
    assert (found.galaxy & alone).sum() > 0.8 * alone.sum()


def test_two_equal_touching_galaxies_are_told_apart():
    image = picture(sersic(radius=18, axis_ratio=0.8) + sersic(radius=18, axis_ratio=0.8, centre=(150, 195)))
    found = segment(image)
    assert found.galaxy[150, 150]
    assert found.neighbours[150, 195]


def test_spiral_knots_stay_with_their_galaxy():
    angles = np.radians([0, 60, 120, 180, 240, 300])
    knots = sum(
        25 * np.exp(-((XX - 150 - 30 * np.cos(a)) ** 2 + (YY - 150 - 30 * np.sin(a)) ** 2) / (2 * 3.0**2))
        for a in angles
    )
    galaxy = sersic(n=1, radius=35, axis_ratio=0.9)
    alone = segment(picture(galaxy)).galaxy
    found = segment(picture(galaxy + knots)).galaxy
    assert (found & alone).sum() > 0.97 * alone.sum()


def test_a_galaxy_at_the_edge_is_not_the_galaxy():
    found = segment(picture(sersic(radius=10, centre=(30, 30))))
    assert not found.galaxy.any()
    assert found.neighbours[30, 30]


@pytest.mark.parametrize("level", [0, 17, 255])
def test_a_blank_image_is_all_sky(level):
    image = np.full((SIDE, SIDE, 3), level, np.uint8)
    found = segment(image)
    assert not found.galaxy.any()
    assert not found.neighbours.any()
    assert found.sky.all()
    measured = shape(image, found.galaxy)
    assert np.isnan([measured.axis_ratio, measured.radius_pixels, measured.position_angle]).all()


def test_noise_alone_holds_no_galaxy():
    for seed in range(5):
        found = segment(picture(np.zeros((SIDE, SIDE)), noise=5, seed=seed))
        assert not found.galaxy.any()
        assert found.sky.mean() > 0.98


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (32, 32), (64, 48), (301, 200)])
def test_any_size_of_frame(size):
    image = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    found = segment(image)
    assert found.galaxy.shape == size
    shape(image, found.galaxy)


def test_a_blank_channel_does_not_hide_the_galaxy():
    image = picture(sersic())
    image[..., 0] = 0
    found = segment(image)
    assert found.galaxy[150, 150]
    assert shape(image, found.galaxy).axis_ratio == pytest.approx(0.5, abs=0.06)


def test_sky_level_ignores_bright_pixels():
    rng = np.random.default_rng(3)
    values = rng.normal(20, 4, 10_000)
    values[:2_000] = 200
    level, deviation = sky_level(values)
    assert level == pytest.approx(20, abs=0.3)
    assert deviation == pytest.approx(4, rel=0.1)
    assert sky_level(np.array([])) == (0.0, 0.0)


def test_it_is_quick():
    image = picture(sersic() + sersic(radius=8, centre=(60, 230)))
    started = time.process_time()
    for _ in range(5):
        shape(image, segment(image).galaxy)
    # 20 ms is the aim on a quiet machine; this only catches an accident.
    assert (time.process_time() - started) / 5 < 0.2
