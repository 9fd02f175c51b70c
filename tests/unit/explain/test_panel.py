"""What is shown of one galaxy, and the sheet of many."""

import dataclasses
import io

import matplotlib.text
import numpy as np
import pytest
from PIL import Image

from galmorph.data.segment import segment
from galmorph.explain.embedding import png
from galmorph.explain.explained import AboutMethod, MethodMap
from galmorph.explain.panel import cells, heading, panel, scale_note
from galmorph.explain.sheet import sheet
from tests.explained import METHODS, SEEN, cutout, explained


@pytest.fixture
def picture(params):
    return params.explain.picture


def texts(figure) -> str:
    """Everything that is written in a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def with_maps(*maps):
    return explained(1, maps=tuple(maps), activations=())


def a_map(values, signed=False, classless=False, **facts):
    return MethodMap(AboutMethod("some", "Some", "something", signed, classless), np.asarray(values, np.float32), facts)


def test_every_picture_is_there_with_its_scale(picture):
    galaxy = explained(1)
    shown = cells(galaxy, SEEN, picture)
    assert [cell.title for cell in shown] == [
        "cutout",
        "Grad-CAM superimposed",
        *(about.title for about in METHODS),
        "block1_conv", "block2_conv", "block3_conv",
    ]  # fmt: skip
    assert shown[0].bar is None
    assert all(cell.bar for cell in shown[1:])
    assert [cell.method for cell in shown[1:10]] == ["grad_cam", *(about.name for about in METHODS)]
    for cell in shown:
        assert cell.picture.dtype == np.uint8
        assert cell.picture.ndim == 3
        assert galaxy.cataid in cell.alt


def test_signed_maps_have_a_scale_with_two_ends(picture):
    signed, plain = a_map([[-4.0, 2.0]], signed=True), a_map([[-4.0, 2.0]])
    bars = [cell.bar for cell in cells(with_maps(plain, signed), SEEN, picture)[2:]]
    assert (bars[0].low, bars[0].middle, bars[0].high, bars[0].colour_map) == ("0", "", "2", "viridis")
    assert (bars[1].low, bars[1].middle, bars[1].high) == ("\u22124", "0", "+4")
    assert bars[1].colour_map == picture.signed_colour_map


def test_the_cutout_is_the_image_as_it_is_but_for_the_square(picture):
    galaxy = explained(1, image=cutout(1, 240, 240))
    shown = cells(galaxy, SEEN, picture)[0].picture
    differs = (shown != galaxy.image).any(-1)
    rows, columns = np.nonzero(differs)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (60, 179, 60, 179)
    assert not differs[61:179, 61:179].any()


def test_an_oblong_frame_keeps_its_shape(picture):
    shown = cells(explained(1, image=cutout(1, 120, 300)), SEEN, picture)
    assert shown[0].picture.shape == shown[1].picture.shape == (96, 240, 3)


def test_the_outline_is_that_of_the_galaxy_in_what_the_model_saw(picture):
    """The crop is rows 40 to 120 and columns 60 to 140 of this frame, drawn three times as large."""
    image = np.full((160, 200, 3), 5, np.uint8)
    image[70:95, 85:120] = 200
    shown = cells(explained(1, image=image, maps=(a_map(np.zeros((8, 8))),), activations=()), SEEN, picture)[2].picture
    drawn = np.nonzero((shown != shown[0, 0]).any(-1))
    for axis, start in ((0, 40), (1, 60)):
        own = np.flatnonzero(segment(image).galaxy.any(1 - axis))
        assert abs(drawn[axis].min() - 3 * (own[0] - start)) <= 2
        assert abs(drawn[axis].max() - 3 * (own[-1] + 1 - start)) <= 2
    assert (shown[130:140, 110:140] == shown[0, 0]).all(), "inside the galaxy nothing is drawn"


def test_a_frame_without_a_galaxy_has_no_outline(picture):
    blank = explained(1, image=np.full((100, 100, 3), 9, np.uint8), maps=(a_map(np.zeros((8, 8))),), activations=())
    shown = cells(blank, SEEN, picture)[2].picture
    assert (shown == shown[0, 0]).all()


def test_an_empty_map_says_so(picture):
    empty = cells(with_maps(a_map(np.zeros((8, 8))), a_map(-np.ones((8, 8)))), SEEN, picture)
    predicted = explained(1).predicted
    for cell in empty[1:]:
        assert cell.notes == (f"nothing here speaks for {predicted}",)
        assert cell.bar.low == "0 everywhere"
        assert cell.alt.endswith("empty")


def test_a_map_that_says_nothing_of_a_class_is_empty_without_naming_one(picture):
    assert a_map(np.zeros((8, 8)), classless=True).notes("Other") == ("the map is empty",)


def test_a_map_of_counter_evidence_alone_says_so():
    assert a_map([[-1.0, 0.0]], signed=True).notes("Other") == ("all of it speaks against Other",)
    assert a_map([[-1.0, 0.5]], signed=True).notes("Other") == ()


def test_facts_become_notes():
    path = a_map([[1.0]], signed=True, converged=0.0, convergence_delta=-0.25, steps=256.0)
    assert path.notes("Other") == ("not converged: the map's sum is off by 0.25 logit after 256 steps",)
    assert a_map([[1.0]], converged=1.0, convergence_delta=0.0, steps=32.0).notes("Other") == ()
    assert a_map([[1.0]], r2=0.834).notes("Other") == ("R² of the fit 0.83 (1 is perfect)",)
    assert "no galaxy found" in a_map([[1.0]], galaxy_found=0.0).notes("Other")[0]


def test_a_saturated_logit_and_a_blank_channel_are_said():
    assert explained(1, logit=3.0).notes() == ()
    (said,) = explained(1, logit=-12.4).notes()
    assert said.startswith("|logit| 12: probability gradients vanish")
    assert explained(1, logit=0.0, blank_channel="r").notes() == (
        "the R channel is blank: there is no light to see in it",
    )
    assert "R, B channels are" in explained(1, logit=0.0, blank_channel="rb").notes()[0]


def test_alternative_text_says_where_a_map_is_strongest(picture):
    corner, centre = np.zeros((9, 9)), np.zeros((9, 9))
    corner[0, 8] = centre[4, 4] = 1
    shown = cells(with_maps(a_map(corner), a_map(centre)), SEEN, picture)
    assert shown[2].alt.endswith("strongest upper right")
    assert shown[3].alt.endswith("strongest at the centre")


def test_the_panel_names_galaxy_answer_truth_and_scale(picture):
    galaxy = explained(1, predicted="Elliptical", label="Other", p_elliptical=0.934, logit=12.0)
    written = texts(panel(galaxy, SEEN, picture))
    assert "000001 · predicted Elliptical (p_elliptical 0.93) · catalogue: Other" in written
    assert "|logit| 12" in written
    assert "not converged" in written.replace("\n", " ")
    assert "0.5 % are drawn like its end" in written.replace("\n", " ")


def test_a_galaxy_that_the_catalogue_does_not_name_has_no_truth(picture):
    galaxy = explained(1, label=None)
    assert galaxy.right is None
    assert "catalogue" not in heading(galaxy)
    assert "catalogue" not in texts(panel(galaxy, SEEN, picture))


def test_a_scale_to_the_maximum_speaks_of_no_end(picture):
    assert "drawn like its end" not in scale_note(picture.model_copy(update={"covered": 1.0}))


def test_panel_and_sheet_are_pictures_and_always_the_same(picture):
    galaxies = [explained(number) for number in range(5)]
    galaxies[2] = dataclasses.replace(galaxies[2], maps=(a_map(np.zeros((8, 8))),))
    for draw in (lambda: panel(galaxies[0], SEEN, picture), lambda: sheet(galaxies, SEEN, picture)):
        first = png(draw())
        assert Image.open(io.BytesIO(first)).width > 600
        assert first == png(draw())
    assert "nothing here speaks for" in texts(sheet(galaxies, SEEN, picture))
    assert png(sheet([], SEEN, picture)).startswith(b"\x89PNG")


def test_the_sheet_states_what_it_shows(picture):
    right, wrong = explained(1, label="Other", predicted="Other"), explained(2, label="Other", predicted="Elliptical")
    written = texts(sheet([right, wrong, explained(3, label=None)], SEEN, picture))
    assert "Grad-CAM for the predicted class, each map on a scale of its own; viridis, opacity 0.6" in written
    assert written.count("· right") == 1
    assert written.count("catalogue: Other") == 1
