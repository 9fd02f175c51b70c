"""Files that are sent for an answer."""

import io

import numpy as np
import pytest
from astropy.io import fits

from galmorph.data.cutout_file import check_not_blank, check_side, decode_cutout
from galmorph.errors import ImageError, TooManyPixelsError
from tests.exported import cutout, png


def fits_file(data):
    stream = io.BytesIO()
    fits.PrimaryHDU(data).writeto(stream)
    return stream.getvalue()


def test_a_picture_and_the_same_picture_as_fits_are_one_cutout(params):
    image = cutout(1)
    planes = np.ascontiguousarray(image[::-1].transpose(2, 0, 1))  # FITS counts rows from the south
    for content in (png(image), fits_file(planes)):
        np.testing.assert_array_equal(decode_cutout(content, "a", 10_000, params.acquire.cutouts), image)
        with pytest.raises(TooManyPixelsError, match="a: "):
            decode_cutout(content, "a", 9_000, params.acquire.cutouts)


def test_what_is_too_small_or_blank_is_no_cutout():
    image = cutout(1, side=40)
    check_side(image, "a", 40)
    check_not_blank(image, "a")
    with pytest.raises(ImageError, match=r"a: a cutout has at least 41 pixels a side\. Received: 50 x 40"):
        check_side(np.pad(image, ((0, 0), (0, 10), (0, 0))), "a", 41)
    with pytest.raises(ImageError, match=r"a: blank, .* Received: \[7, 7, 7\]"):
        check_not_blank(np.full_like(image, 7), "a")
