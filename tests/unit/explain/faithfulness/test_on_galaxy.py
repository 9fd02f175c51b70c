"""On-galaxy energy: by hand, and of models that look at the galaxy, at a neighbour, and at a blank channel."""

import numpy as np
import pytest

from galmorph.errors import InputError
from galmorph.explain.faithfulness.answers import Answers
from galmorph.explain.faithfulness.blank_channel import filled_channels
from galmorph.explain.faithfulness.on_galaxy import REGIONS, energies, points_at, regions_of
from galmorph.explain.faithfulness.verdicts import estimate, on_galaxy
from galmorph.explain.grad_cam import GradCam
from tests.lookers import CENTRE, CORNER, PREPROCESS, frame, galaxies_of, reads, reads_emptiness_of_blue


def looked(model, galaxies, scores):
    """Where Grad-CAM of a model finds it looking, and the verdict."""
    maps = GradCam(model, None, 4).explain(galaxies.images, galaxies.target)
    energy = energies(galaxies.frames, {"cam": maps}, PREPROCESS)
    difference = energy.shares["cam"][:, 0] - energy.uniform[:, 0]
    return energy, on_galaxy(estimate(difference, scores, 0), scores.negligible)


def test_a_model_that_reads_the_centre_passes(scored, scores):
    energy, verdict = looked(reads(CENTRE), scored, scores)
    assert verdict.verdict == "passed"
    assert (energy.shares["cam"][:, 0] > 0.5).all()
    assert (energy.pointing["cam"] == 1).all()


def test_a_model_that_reads_only_a_neighbour_fails(scored, scores):
    energy, verdict = looked(reads(CORNER), scored, scores)
    assert verdict.verdict == "failed"
    assert (energy.shares["cam"][:, 1] > energy.shares["cam"][:, 0]).all()
    assert (energy.pointing["cam"] == 0).all()


@pytest.fixture(scope="module")
def half_blank():
    random = np.random.default_rng(7)
    blank = ["b", ""] * 6
    return galaxies_of([frame(random, blank=channel) for channel in blank], blank=blank)


def test_a_model_that_reads_only_the_blank_channel_fails(half_blank, scores):
    energy, verdict = looked(reads_emptiness_of_blue(), half_blank, scores)
    assert verdict.verdict == "failed"
    blank = np.array(half_blank.blank_channels) == "b"
    np.testing.assert_allclose(energy.shares["cam"][blank], energy.uniform[blank], atol=1e-6)
    assert np.isnan(energy.shares["cam"][~blank]).all()  # there is nothing that speaks for Elliptical


class TestBlankChannel:
    def test_filling_the_channel_flips_a_model_that_reads_its_emptiness(self, half_blank):
        filled = filled_channels(Answers(reads_emptiness_of_blue(), 5), half_blank)
        assert [(one.cataid, one.channels) for one in filled] == [(f"G{at}", "b") for at in range(0, 12, 2)]
        assert all(one.flips and one.p_elliptical > 0.9 and one.filled < 0.1 for one in filled)
        assert all(one.change == pytest.approx(6, abs=0.5) for one in filled)

    def test_a_model_that_reads_another_channel_does_not_notice(self, half_blank):
        filled = filled_channels(Answers(reads(CENTRE, channel=0), 5), half_blank)
        assert len(filled) == 6
        assert not any(one.flips or one.change for one in filled)

    def test_nothing_can_be_filled_from_nothing(self, half_blank):
        dark = galaxies_of(half_blank.frames[:2], blank=["rgb", ""])
        assert filled_channels(Answers(reads(CENTRE), 5), dark) == []


class TestRegions:
    def test_every_pixel_of_the_crop_is_in_one(self, scored):
        regions = regions_of(scored.frames[0], PREPROCESS)
        assert regions.shape == (4, 32, 32)
        assert (regions.sum(0) == 1).all()
        assert regions[REGIONS.index("galaxy"), 16, 16]
        assert regions[REGIONS.index("neighbours"), 6, 6]
        assert regions[REGIONS.index("sky"), 28, 3]

    def test_energy_is_the_share_of_absolute_attribution(self, scored):
        regions = regions_of(scored.frames[0], PREPROCESS)
        map_ = 3.0 * regions[0] - 1.0 * regions[1] + 0.5 * regions[2]
        energy = energies(scored.frames[:1], {"it": map_[None]}, PREPROCESS)
        expected = np.array([3, 1, 0.5, 0]) * regions.sum((1, 2))
        np.testing.assert_allclose(energy.shares["it"][0], expected / expected.sum(), rtol=1e-6)
        np.testing.assert_allclose(energy.uniform[0], regions.mean((1, 2)))
        assert energy.pointing["it"][0] == 1

    def test_a_map_without_preference_has_the_share_of_the_area(self, scored):
        almost_even = np.ones((12, 32, 32), np.float32)
        almost_even[:, 0, 0] = 1.0001
        energy = energies(scored.frames, {"it": almost_even}, PREPROCESS)
        np.testing.assert_allclose(energy.shares["it"], energy.uniform, atol=1e-4)

    def test_a_coarse_map_is_brought_to_the_frame(self, scored):
        """Four cells of which one, at the neighbour's corner, has it all."""
        coarse = np.zeros((1, 2, 2), np.float32)
        coarse[0, 0, 0] = 1
        energy = energies(scored.frames[:1], {"it": coarse}, PREPROCESS)
        fine = energies(scored.frames[:1], {"it": np.kron(coarse, np.ones((16, 16)))}, PREPROCESS)
        assert energy.shares["it"][0, 1] > 3 * energy.uniform[0, 1] / 2
        assert energy.shares["it"].sum() == pytest.approx(1)
        assert energy.shares["it"][0, 1] < fine.shares["it"][0, 1]  # its edges are soft

    def test_a_frame_without_galaxy_and_an_empty_map_have_no_share(self):
        random = np.random.default_rng(1)
        frames = [frame(random, galaxy=False, neighbour=False), frame(random), frame(random)]
        maps = np.stack([np.eye(32), np.zeros((32, 32)), np.eye(32)])
        energy = energies(frames, {"it": maps}, PREPROCESS)
        assert np.isnan(energy.uniform).all(1).tolist() == [True, False, False]
        assert np.isnan(energy.shares["it"]).all(1).tolist() == [True, True, False]
        assert np.isnan(energy.pointing["it"]).tolist() == [True, True, False]

    @pytest.mark.parametrize("count", [11, 13])
    def test_every_map_needs_its_frame(self, scored, count):
        frames = (list(scored.frames) * 2)[:count]
        with pytest.raises(InputError, match=f"12 maps and {count} cutouts"):
            energies(iter(frames), {"it": np.ones((12, 32, 32))}, PREPROCESS)


def test_most_of_a_plateau_must_lie_on_the_galaxy():
    region = np.zeros((4, 4), bool)
    region[:2] = True
    plateau = np.zeros((4, 4))
    plateau[1:3, :3] = 1
    assert not points_at(plateau, region)
    plateau[0, 0] = 1
    assert points_at(plateau, region)
