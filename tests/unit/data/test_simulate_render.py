"""Rendering: the same light as GalSim's, the right noise, the survey's colours."""

import math
from dataclasses import replace

import galsim
import numpy as np
import pytest

from galmorph.data import fourier, render
from galmorph.data.disc_structure import disc_structure, has_structure, knot_shares
from galmorph.data.galaxy import BANDS, Companion
from galmorph.data.scene import disc_fluxes, draw_with_galsim, flux
from galmorph.data.simulate import draw_galaxy


@pytest.fixture(scope="module")
def simulate(params):
    return params.acquire.simulate


@pytest.fixture(scope="module")
def small(simulate):
    """A frame of 120 pixels, for speed."""
    return simulate.model_copy(update={"size": 120})


@pytest.fixture(scope="module")
def galaxy_of(simulate):
    """The first galaxies of a type that are small and have no companions, by type."""

    def find(name, **changes):
        galaxies = (draw_galaxy(index, simulate) for index in range(400))
        galaxy = next(galaxy for galaxy in galaxies if galaxy.type == name and galaxy.r_e < 2.5)
        return replace(galaxy, companions=(), **changes)

    return find


@pytest.fixture(scope="module")
def grid():
    return fourier.grid_for(120, 0.2, 0.5, 0.0)


def wave_numbers():
    return np.random.default_rng(0).uniform(-12, 12, (30, 2))


def grid_at(points):
    """A grid of single wave numbers: one column of x and y each."""
    return fourier.Grid(120, 0.2, 160, points[:, :1].astype(np.float32), points[:, 1:].astype(np.float32))


@pytest.mark.parametrize("fwhm", [0.5, 0.9])
def test_the_moffat_transform_is_galsims(fwhm):
    profile = galsim.Moffat(beta=2.5, fwhm=fwhm)
    points = wave_numbers()
    ours = fourier.moffat(np.hypot(*points.T), fwhm)
    assert ours == pytest.approx([profile.kValue(*point).real for point in points], abs=2e-4)


@pytest.mark.parametrize("index", [1.0, 2.5, 4.0, 6.0])
def test_the_sersic_transform_is_galsims(index):
    profile = galsim.Sersic(index, half_light_radius=1.7, trunc=12 * 1.7, flux_untruncated=True)
    profile = profile.shear(q=0.6, beta=25 * galsim.degrees)
    points = wave_numbers()
    squared = fourier.squared_radius(grid_at(points), 1.7 / math.sqrt(0.6), 1.7 * math.sqrt(0.6), 25)
    expected = [profile.kValue(*point).real for point in points]
    assert fourier.sersic(squared, index)[:, 0] == pytest.approx(expected, abs=3e-4)


@pytest.mark.parametrize("inclination", [0, 50, 90])
def test_the_disc_transform_is_galsims(inclination):
    profile = galsim.InclinedExponential(inclination * galsim.degrees, scale_radius=1.1, scale_h_over_r=0.23)
    profile = profile.rotate(70 * galsim.degrees)
    points = wave_numbers()
    ours = fourier.inclined_disc(grid_at(points), 1.1, 0.23, inclination, 70)[:, 0]
    assert ours == pytest.approx([profile.kValue(*point).real for point in points], abs=1e-5)


def test_a_spectrum_comes_back_as_the_image_it_was_made_from(grid):
    # Smooth enough to pass the grid's cut-off.
    offsets = np.arange(120) - 59.5
    image = np.exp(-0.5 * (offsets[:, None] ** 2 + (offsets[None, :] - 7) ** 2) / 3.0**2).astype(np.float32)
    assert np.abs(grid.image(grid.spectrum(image)) - image).max() < 1e-5
    inner = image[20:-20, 20:-20]
    assert np.abs(grid.image(grid.spectrum(inner)) - image).max() < 1e-5


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (3.1, -7.46), (-6.5, 5.0)])
def test_a_phase_moves_light_to_where_it_says(grid, x, y):
    image = grid.image(grid.phase(x, y) * fourier.moffat(np.hypot(grid.x, grid.y), 0.9) * fourier.pixel(grid))
    rows, columns = np.mgrid[:120, :120]
    centroid = [(image * axis).sum() / image.sum() for axis in (columns, rows)]
    assert centroid == pytest.approx([59.5 + x / 0.2, 59.5 + y / 0.2], abs=0.05)
    assert image.sum() * 0.2**2 == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["E", "S0", "Sa", "Sbc", "Scd", "Im"])
def test_the_image_is_galsims_to_a_fraction_of_the_sky_noise(galaxy_of, simulate, name):
    galaxy = galaxy_of(name)
    difference = render.draw_bands(galaxy, simulate) - draw_with_galsim(galaxy, simulate, galsim.GSParams())
    in_noises = np.abs(difference) / render.sky_noise(galaxy, simulate)[:, None, None]
    assert in_noises.max() < 1.0
    assert np.sqrt((in_noises**2).mean()) < 0.05


def test_stars_and_neighbours_are_galsims(galaxy_of, small):
    companions = (
        Companion(x=-7.03, y=5.51, magnitude=18.5, g_i=0.9, i_h=0.3),
        Companion(x=6.2, y=4.4, magnitude=18.0, g_i=1.2, i_h=0.8, r_e=0.8, axis_ratio=0.5, position_angle=40.0),
        Companion(x=11.95, y=-3.0, magnitude=19.0, g_i=1.2, i_h=0.8, r_e=0.6),  # half out of the frame
    )
    galaxy = replace(galaxy_of("E"), companions=companions)
    difference = render.draw_bands(galaxy, small) - draw_with_galsim(galaxy, small, galsim.GSParams())
    assert (np.abs(difference) / render.sky_noise(galaxy, small)[:, None, None]).max() < 2.0


def test_all_the_light_is_there(galaxy_of, simulate):
    galaxy = galaxy_of("Sbc")
    light = render.draw_bands(galaxy, simulate).sum((1, 2)) * simulate.pixel_scale**2
    expected = [flux(galaxy.magnitude + galaxy.g_i), flux(galaxy.magnitude), flux(galaxy.magnitude - galaxy.i_h)]
    # Clumps and arms move light; what they add and take is a few per cent.
    assert light == pytest.approx(expected, rel=0.1)


def test_half_of_an_ellipticals_light_lies_within_its_radius(galaxy_of, simulate):
    galaxy = replace(galaxy_of("E"), axis_ratio=1.0, r_e=3.0, bulge_r_e=3.0, sersic_n=2.5)
    image = render.draw_bands(galaxy, simulate)[BANDS.index("i")]
    offsets = (np.arange(simulate.size) - (simulate.size - 1) / 2) * simulate.pixel_scale
    inside = np.hypot(offsets[:, None], offsets[None, :]) < 3.0
    share = image[inside].sum() * simulate.pixel_scale**2 / flux(galaxy.magnitude)
    assert share == pytest.approx(0.5, abs=0.02)


def test_light_is_not_negative(galaxy_of, small):
    for name in ("Sbc", "Scd", "Im"):
        galaxy = replace(galaxy_of(name), inclination=0.0, axis_ratio=1.0)
        bands = render.draw_bands(galaxy, small)
        assert bands.min() > -0.3 * render.sky_noise(galaxy, small).min()


@pytest.mark.parametrize("arms", [2, 3, 4])
def test_arms_repeat_after_a_turn_by_their_number(galaxy_of, small, arms):
    galaxy = replace(
        galaxy_of("Sbc"),
        arms=arms,
        inclination=0.0,
        axis_ratio=1.0,
        clumpiness=0.0,
        knots=0,
        bar=0.0,
    )
    structure = disc_structure(galaxy, disc_fluxes(galaxy), small)[1]
    offsets = (np.arange(structure.shape[0]) - (structure.shape[0] - 1) / 2) * small.pixel_scale
    radius, angle = np.hypot(offsets[:, None], offsets), np.arctan2(offsets[:, None], offsets)
    ring = np.abs(radius - galaxy.r_e) < 0.3
    strength = {m: abs((structure * np.exp(-1j * m * angle))[ring].sum()) for m in (1, 2, 3, 4, 5)}
    assert max(strength, key=strength.get) == arms
    assert np.abs(structure.sum()) < 0.05 * np.abs(structure).sum()


def test_arms_trail_by_their_pitch(galaxy_of, small):
    galaxy = replace(
        galaxy_of("Sbc"),
        arms=2,
        pitch=20.0,
        inclination=0.0,
        axis_ratio=1.0,
        position_angle=0.0,
        clumpiness=0.0,
        knots=0,
        bar=0.0,
        r_e=2.4,
    )
    structure = disc_structure(galaxy, np.ones(3), small)[1]
    offsets = (np.arange(structure.shape[0]) - (structure.shape[0] - 1) / 2) * small.pixel_scale
    radius, angle = np.hypot(offsets[:, None], offsets), np.arctan2(offsets[:, None], offsets)

    def crest(at):
        ring = np.abs(radius - at) < 0.15
        return np.angle((structure * np.exp(2j * angle))[ring].sum()) / 2

    turned = (crest(4.0) - crest(2.5)) % math.pi
    assert turned == pytest.approx(math.log(4.0 / 2.5) / math.tan(math.radians(20)) % math.pi, abs=0.1)


def test_knots_hold_their_share_of_the_light(galaxy_of, simulate):
    galaxy = replace(
        galaxy_of("Scd"),
        knots=9,
        arms=0,
        clumpiness=0.0,
        bar=0.0,
        inclination=0.0,
        axis_ratio=1.0,
    )
    light = disc_structure(galaxy, np.ones(3), simulate).sum((1, 2)) * simulate.pixel_scale**2
    assert light == pytest.approx(knot_shares(galaxy), rel=0.1)
    assert light[0] > light[1] > light[2]  # blue


def test_an_edge_on_disc_shows_no_arms(galaxy_of, small):
    galaxy = replace(galaxy_of("Sa"), inclination=90.0, axis_ratio=0.23, knots=0, bar=0.0)
    assert has_structure(galaxy)
    assert not disc_structure(galaxy, np.ones(3), small).any()


def test_sky_noise_has_its_deviation_and_is_correlated(galaxy_of, simulate):
    galaxy = galaxy_of("E")
    dark = np.zeros((3, simulate.size, simulate.size), np.float32)
    noise = render.add_sky(dark, galaxy, simulate)
    assert noise.std((1, 2)) == pytest.approx(render.sky_noise(galaxy, simulate), rel=0.03)
    assert np.corrcoef(noise[0, :, 1:].ravel(), noise[0, :, :-1].ravel())[0, 1] > 0.4
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.03


def test_bright_light_is_noisier(galaxy_of, simulate):
    galaxy = galaxy_of("E")
    bright = np.full((3, simulate.size, simulate.size), flux(20.0), np.float32)
    noise = render.add_sky(bright, galaxy, simulate) - bright
    raised = noise.std((1, 2)) / render.sky_noise(galaxy, simulate)
    assert raised[0] == pytest.approx(math.sqrt(1 + flux(20.0) / flux(22.0)), rel=0.03)
    assert raised[2] < 1.05


def test_the_noise_free_image_is_the_same_scene_without_noise(simulate):
    galaxy = draw_galaxy(0, simulate)
    image, noise_free = render.cutout(galaxy, simulate)
    assert image.shape == noise_free.shape == (simulate.size, simulate.size, 3)
    assert image.dtype == noise_free.dtype == np.uint8
    corner = (slice(0, 30), slice(0, 30))
    assert image[corner].astype(float).std() > 2 * noise_free[corner].astype(float).std()
    assert image.mean() == pytest.approx(noise_free.mean(), abs=1.5)


def test_a_cutout_is_the_same_every_time(simulate):
    galaxy = draw_galaxy(5, simulate)
    first = render.cutout(galaxy, simulate)
    render.cutout(draw_galaxy(6, simulate), simulate)  # what was drawn in between does not matter
    again = render.cutout(galaxy, simulate)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_a_blank_h_band_is_a_black_red_channel(simulate):
    galaxy = replace(draw_galaxy(0, simulate), blank_h=True)
    for image in render.cutout(galaxy, simulate):
        assert not image[..., 0].any()
        assert image[..., 1].any()


def test_ellipticals_look_red_and_irregulars_blue(galaxy_of, simulate):
    centre = slice(simulate.size // 2 - 5, simulate.size // 2 + 5)
    red_over_blue = {}
    for name, g_i, i_h in (("E", 1.22, 0.82), ("Im", 0.38, 0.44)):
        galaxy = galaxy_of(name, g_i=g_i, i_h=i_h, blank_h=False)
        core = render.cutout(galaxy, simulate)[1][centre, centre].astype(float).mean((0, 1))
        red_over_blue[name] = core[0] / core[2]
    assert red_over_blue["E"] > 1.4
    assert red_over_blue["Im"] < 1.0


def test_up_is_up(galaxy_of, simulate):
    star = Companion(x=0.0, y=20.0, magnitude=17.0, g_i=0.8, i_h=0.3)
    image = render.cutout(replace(galaxy_of("E"), companions=(star,)), simulate)[1].astype(float).sum(2)
    row = round((simulate.size - 1) / 2 - 20.0 / simulate.pixel_scale)
    assert image[row - 3 : row + 4].max() > 3 * image[-row - 4 : -row + 3].max()


def test_the_sky_left_over_shifts_the_level(galaxy_of, simulate):
    galaxy = replace(galaxy_of("E"), sky_g=0.0, sky_i=0.0, sky_h=0.0)
    level = [render.cutout(replace(galaxy, sky_i=sky), simulate)[1][0, 0, 1] for sky in (-0.5, 0.0, 0.5)]
    assert level == sorted(level)
    assert level[2] > level[0]


@pytest.mark.parametrize("changes", [{"size": 101}, {"size": 64, "pixel_scale": 0.5}, {"size": 33}, {"pedestal": 0.0}])
def test_other_frames_render(simulate, changes):
    frame = simulate.model_copy(update=changes)
    for index in range(6):
        image, _ = render.cutout(draw_galaxy(index, frame), frame)
        assert image.shape == (frame.size, frame.size, 3)
        assert image.std() > 0
