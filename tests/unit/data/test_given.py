"""What a registered model takes for a cutout."""

import base64

import cv2
import numpy as np
import pytest

from galmorph.data.given import as_cutout
from galmorph.errors import ImageError, InputError

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
PNG = cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes()


@pytest.mark.parametrize(
    "given",
    [
        PNG,
        bytearray(PNG),
        base64.b64encode(PNG).decode(),
        base64.encodebytes(PNG).decode(),
        PIXELS,
        PIXELS.tolist(),
        PIXELS.astype(np.float32),
        PIXELS.astype(np.int64),
    ],
    ids=["bytes", "bytearray", "base64", "base64 lines", "array", "lists", "float", "int64"],
)
def test_every_kind_is_the_same_cutout(given):
    cutout = as_cutout(given, "one", 1000)
    assert cutout.dtype == np.uint8
    np.testing.assert_array_equal(cutout, PIXELS)


def test_floats_are_rounded():
    given = np.full((2, 2, 3), 10.6)
    given[0] = 3.4
    np.testing.assert_array_equal(as_cutout(given, "one", 10)[:, 0, 0], [3, 11])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/etc/passwd", "text must be the base64"),
        ("http://localhost/a.png", "text must be the base64"),
        (base64.b64encode(b"not an image").decode(), "not an image"),
        (b"", "empty"),
        (PNG[:40], "one: "),
        (3, "Received: int"),
        (None, "Received: NoneType"),
        ({"image": PNG}, "Received: dict"),
        (PIXELS[..., 0], r"\(H, W, 3\).*shape \(6, 8\)"),
        (PIXELS[None], r"shape \(1, 6, 8, 3\)"),
        (np.zeros((0, 3, 3), np.uint8), r"shape \(0, 3, 3\)"),
        ([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]], "equally long"),
        ([[["a", "b", "c"]]], r"\(H, W, 3\)"),
        (PIXELS.astype(np.int16) - 100, r"from -\d+ to 1\d\d"),
        (PIXELS * 2.0, r"from \d+ to 5\d\d"),
        (np.where(PIXELS > 100, np.nan, PIXELS), "from nan"),
        (PIXELS / 255, r"looks scaled to \[0, 1\]"),
        (np.full((4, 4, 3), 7, np.uint8), "blank"),
    ],
)
def test_anything_else_is_refused_by_name(given, said):
    with pytest.raises((InputError, ImageError), match=said) as error:
        as_cutout(given, "one", 1000)
    assert "one" in str(error.value)


def test_no_more_pixels_than_allowed_are_decoded():
    for given in (PNG, PIXELS):
        with pytest.raises(ImageError, match="larger than the 47 pixels"):
            as_cutout(given, "one", 47)
    # Refused by its length, before any of it is decoded.
    with pytest.raises(ImageError, match="it was not decoded"):
        as_cutout("A" * 3_000_000, "one", 1000)
