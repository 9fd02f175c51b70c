"""Drawing galaxies: each from its seed and index alone, and populations as the recipe says."""

import math

import numpy as np
import pytest

from galmorph.data.galaxy import BANDS, band_magnitude, cataid, disc_axis_ratio, relative_size, truth
from galmorph.data.simulate import draw_galaxy


@pytest.fixture(scope="module")
def simulate(params):
    return params.acquire.simulate


@pytest.fixture(scope="module")
def galaxies(simulate):
    return [draw_galaxy(index, simulate) for index in range(2000)]


@pytest.fixture(scope="module")
def ellipticals(galaxies):
    return [galaxy for galaxy in galaxies if galaxy.label == "Elliptical"]


@pytest.fixture(scope="module")
def discs(galaxies):
    return [galaxy for galaxy in galaxies if galaxy.label == "Other"]


def of_type(galaxies, name):
    return [galaxy for galaxy in galaxies if galaxy.type == name]


def values(galaxies, name):
    return np.array([getattr(galaxy, name) for galaxy in galaxies])


def test_a_galaxy_depends_on_seed_and_index_alone(simulate, galaxies):
    fewer = simulate.model_copy(update={"galaxies": 3})
    assert repr(draw_galaxy(1234, fewer)) == repr(galaxies[1234])
    other_seed = simulate.model_copy(update={"seed": simulate.seed + 1})
    assert draw_galaxy(1234, other_seed).magnitude != galaxies[1234].magnitude


def test_the_order_of_values_does_not_matter(simulate, galaxies):
    """A pipeline hands them on in any order."""
    turned = {name: dict(reversed(getattr(simulate, name).items())) for name in ("disc_types", "psf_fwhm", "sky_noise")}
    same = simulate.model_copy(update=turned)
    assert [draw_galaxy(index, same) for index in range(200)] == galaxies[:200]


def test_no_two_galaxies_are_alike(galaxies):
    assert len(set(values(galaxies, "magnitude"))) == len(galaxies)


@pytest.mark.parametrize("seed", [0, 7, 20260, 2**40])
def test_ids_are_unique_text_of_digits(seed):
    ids = [cataid(seed, index) for index in (*range(2000), 999_999, 1_000_000, 12_345_678)]
    assert len(set(ids)) == len(ids)
    assert all(name.isdigit() and name[0] != "0" for name in ids)


def test_neighbouring_seeds_share_no_ids():
    assert cataid(1, 5) != cataid(2, 5)


def test_class_shares_follow_the_parameter(simulate, galaxies, ellipticals):
    assert len(ellipticals) / len(galaxies) == pytest.approx(simulate.elliptical_fraction, abs=0.035)
    for fraction, label in ((0.0, "Other"), (1.0, "Elliptical")):
        only = simulate.model_copy(update={"elliptical_fraction": fraction})
        assert {draw_galaxy(index, only).label for index in range(40)} == {label}


def test_types_follow_their_shares(simulate, discs):
    total = sum(simulate.disc_types.values())
    for name, share in simulate.disc_types.items():
        assert len(of_type(discs, name)) / len(discs) == pytest.approx(share / total, abs=0.05)


def test_blank_h_is_a_few_percent_of_both_classes(simulate, ellipticals, discs):
    for group in (ellipticals, discs):
        assert values(group, "blank_h").mean() == pytest.approx(simulate.blank_fraction, abs=0.02)
        assert values(group, "blank_h").any()


def test_ellipticals_are_as_the_recipe_says(ellipticals):
    index = values(ellipticals, "sersic_n")
    assert index.min() >= 2.5
    assert index.max() <= 6.0
    assert index.mean() == pytest.approx(4.0, abs=0.15)  # normal (4, 1), cut to [2.5, 6]
    assert values(ellipticals, "axis_ratio").min() >= 0.4
    assert values(ellipticals, "axis_ratio").max() <= 1.0
    assert (values(ellipticals, "bulge_fraction") == 1).all()
    assert not values(ellipticals, "arms").any()
    assert not values(ellipticals, "knots").any()
    assert not values(ellipticals, "bar").any()
    assert np.isnan(values(ellipticals, "inclination")).all()


def test_discs_are_as_the_recipe_says(discs):
    fraction = values(discs, "bulge_fraction")
    assert fraction.min() >= 0
    assert fraction.max() <= 0.7
    index = values(discs, "sersic_n")
    assert np.nanmin(index) >= 1
    assert np.nanmax(index) <= 4
    assert (np.isnan(index) == (fraction == 0)).all()
    thickness = values(discs, "thickness")
    assert thickness.min() >= 0.20
    assert thickness.max() <= 0.27
    # Random inclinations: their cosines are spread evenly.
    cosines = np.cos(np.radians(values(discs, "inclination")))
    assert np.histogram(cosines, bins=4, range=(0, 1))[0] / len(discs) == pytest.approx(np.full(4, 0.25), abs=0.05)


def test_arms_are_two_to_four_and_wound_by_ten_to_thirty_degrees(discs):
    spirals = [galaxy for galaxy in discs if galaxy.arms]
    assert {galaxy.type for galaxy in spirals} == {"Sa", "Sbc", "Scd"}
    assert set(values(spirals, "arms")) == {2, 3, 4}
    pitch = values(spirals, "pitch")
    assert np.abs(pitch).min() >= 10
    assert np.abs(pitch).max() <= 30
    assert 0.4 < (pitch > 0).mean() < 0.6  # wound either way
    assert ((values(spirals, "arm_strength") > 0) & (values(spirals, "arm_strength") < 1)).all()


def test_sizes_lie_in_their_range(simulate, galaxies):
    radius = values(galaxies, "r_e")
    assert radius.min() >= simulate.radius[0]
    assert radius.max() <= simulate.radius[1]


def test_a_range_far_from_the_median_is_obeyed(simulate):
    small = simulate.model_copy(update={"radius": (0.01, 0.02)})
    assert all(0.01 <= draw_galaxy(index, small).r_e <= 0.02 for index in range(20))


def test_early_discs_have_the_colours_of_ellipticals(galaxies, ellipticals):
    for colour in ("g_i", "i_h"):
        early = values(of_type(galaxies, "S0"), colour)
        assert early.mean() == pytest.approx(values(ellipticals, colour).mean(), abs=0.04)
        assert values(ellipticals, colour).std() == pytest.approx(0.1, abs=0.015)
    # Dust reddens a tilted Sa; one seen face on is as red as an elliptical.
    face_on = [galaxy for galaxy in of_type(galaxies, "Sa") if galaxy.axis_ratio > 0.8]
    assert values(face_on, "g_i").mean() == pytest.approx(1.22, abs=0.06)


def test_later_types_are_bluer(galaxies):
    means = [values(of_type(galaxies, name), "g_i").mean() for name in ("Sa", "Sbc", "Scd", "Im")]
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.6


def test_dust_reddens_edge_on_spirals(galaxies):
    sbc = of_type(galaxies, "Sbc")
    tilt = values(sbc, "axis_ratio")
    colour = values(sbc, "g_i")
    assert colour[tilt < 0.35].mean() > colour[tilt > 0.75].mean() + 0.08


def test_psf_widths_lie_in_their_ranges(simulate, galaxies):
    for band, name in zip(BANDS, ("psf_g", "psf_i", "psf_h"), strict=True):
        low, high = simulate.psf_fwhm[band]
        assert values(galaxies, name).min() >= low
        assert values(galaxies, name).max() <= high


def test_companions_stay_off_the_core_and_in_the_frame(simulate, galaxies):
    half = simulate.size * simulate.pixel_scale / 2
    for galaxy in galaxies[:300]:
        for companion in galaxy.companions:
            assert math.hypot(companion.x, companion.y) > 1 + galaxy.r_e
            assert max(abs(companion.x), abs(companion.y)) <= half
    counts = np.array([len(galaxy.companions) for galaxy in galaxies])
    assert counts.mean() == pytest.approx(simulate.stars + simulate.neighbours, abs=0.3)


def test_a_frame_smaller_than_the_galaxy_has_room_for_companions(simulate):
    tiny = simulate.model_copy(update={"size": 32, "pixel_scale": 0.1})
    assert sum(len(draw_galaxy(index, tiny).companions) for index in range(20)) > 0


def test_the_axis_ratio_alone_does_not_tell_the_classes_apart(galaxies):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    ratios = values(galaxies, "axis_ratio")[:, None]
    accuracy = cross_val_score(LogisticRegression(), ratios, values(galaxies, "label"), cv=5).mean()
    assert 0.55 < accuracy < 0.75


def test_the_catalogue_row_says_what_was_drawn(galaxies):
    galaxy = next(galaxy for galaxy in galaxies if galaxy.arms)
    row = truth(galaxy)
    assert list(row)[:4] == ["CATAID", "label", "row", "rejected"]
    assert row["CATAID"] == galaxy.cataid
    assert row["row"] == galaxy.index + 2
    assert row["rejected"] == ""
    assert row["arms"] == galaxy.arms
    assert row["sersic_n"] == pytest.approx(galaxy.sersic_n)
    assert row["axis_ratio"] == pytest.approx(galaxy.axis_ratio, abs=1e-4)
    assert row["neighbours"] + row["stars"] == len(galaxy.companions)
    assert {"type", "magnitude", "r_e", "g_i", "i_h", "bulge_fraction", "psf_g", "blank_h"} <= set(row)


def test_every_row_has_the_same_columns(galaxies):
    assert len({tuple(truth(galaxy)) for galaxy in galaxies[:200]}) == 1


@pytest.mark.parametrize(("inclination", "expected"), [(0, 1.0), (90, 0.25), (60, math.hypot(0.5, 0.25 * 0.75**0.5))])
def test_disc_axis_ratio(inclination, expected):
    assert disc_axis_ratio(inclination, 0.25) == pytest.approx(expected)


def test_band_magnitudes_follow_from_the_colours():
    assert [band_magnitude(17.0, 1.2, 0.8, band) for band in BANDS] == pytest.approx([18.2, 17.0, 16.2])


def test_ellipticals_shrink_from_g_to_h_by_more_than_discs(ellipticals, discs):
    shrunk = [relative_size(galaxy, "H") / relative_size(galaxy, "g") for galaxy in (ellipticals[0], discs[0])]
    # 38 % and 25 % from g to K, of which g to H is 81 % in the logarithm of the wavelength.
    assert shrunk == pytest.approx([0.62**0.81, 0.75**0.81], abs=0.002)
