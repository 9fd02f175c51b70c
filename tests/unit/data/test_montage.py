import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from galmorph.data.montage import Tile, as_array, as_png, data_url, pair_sheet, sheet


def tile(colour, size=(30, 30), caption=""):
    return Tile(np.full((*size, 3), colour, np.uint8), caption)


RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


def seen(drawn, colour):
    """The middle (row, column) of what has a colour in a picture, None when nothing has."""
    y, x = np.nonzero((np.abs(drawn.astype(int) - colour) < 30).all(-1))
    return (float(y.mean()), float(x.mean())) if len(y) else None


def test_every_tile_is_shown_in_reading_order():
    drawn = as_array(sheet([tile(RED), tile(GREEN), tile(BLUE)], columns=2))
    red, green, blue = (seen(drawn, colour) for colour in (RED, GREEN, BLUE))
    assert red[0] == pytest.approx(green[0], abs=3)
    assert red[1] < green[1]
    assert blue[0] > red[0] + 50
    assert blue[1] == pytest.approx(red[1], abs=3)


def test_colours_are_red_green_blue():
    assert seen(as_array(sheet([tile(RED)])), RED) is not None
    assert seen(as_array(sheet([tile(RED)])), BLUE) is None


def test_a_sheet_grows_by_rows_not_in_width():
    small, large = (as_array(sheet([tile(RED)] * count, columns=4)) for count in (4, 40))
    assert small.shape[1] == large.shape[1]
    assert large.shape[0] > 7 * small.shape[0]


def test_pairs_stand_side_by_side():
    drawn = as_array(pair_sheet([(tile(RED, caption="a\nElliptical"), tile(GREEN))], "Pairs"))
    red, green = seen(drawn, RED), seen(drawn, GREEN)
    assert red[0] == pytest.approx(green[0], abs=3)
    assert red[1] < green[1]


def test_captions_and_title_are_drawn():
    bare = as_array(sheet([tile(RED)]))
    titled = as_array(sheet([tile(RED, caption="42\nb/a 0.5")], "Elliptical"))
    assert titled.shape[0] > bare.shape[0]
    assert (titled < 100).all(-1).sum() > (bare < 100).all(-1).sum() + 50


def test_sizes_may_differ():
    drawn = as_array(sheet([tile(RED, (10, 40)), tile(GREEN, (300, 200)), tile(BLUE, (1, 1))]))
    assert all(seen(drawn, colour) for colour in (RED, GREEN, BLUE))


@pytest.mark.parametrize("make", [sheet, pair_sheet])
def test_nothing_to_show_is_said(make):
    drawn = as_array(make([], "Other"))
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3
    assert (drawn < 100).any()


@pytest.mark.parametrize("make", [sheet, pair_sheet])
def test_columns_below_one_are_refused(make):
    with pytest.raises(ValueError, match=r"columns must be 1 or more\. Received: 0"):
        make([], columns=0)


def test_equal_sheets_make_equal_bytes():
    first, second = (as_png(sheet([tile(RED, caption="1")], "t")) for _ in range(2))
    assert first == second
    assert Image.open(io.BytesIO(first)).format == "PNG"
    assert data_url(first).startswith("data:image/png;base64,iVBOR")


def test_it_is_a_figure_of_no_window():
    assert isinstance(sheet([tile(RED)]), Figure)
    assert sheet([tile(RED)]).canvas.manager is None
