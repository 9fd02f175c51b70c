"""Images from outside, read one at a time and made ready for a model.

Apart from what answers them: the processes that read images must not wait for TensorFlow, nor hold it each.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from galmorph.data.dataset import prepare_raw
from galmorph.data.images import decode_image, is_blank, max_bytes
from galmorph.edge.members import read_member
from galmorph.errors import ArchiveError, ImageError
from galmorph.params import DenoiserParams, PreprocessParams


@dataclass(frozen=True)
class ReadImage:
    """An image that was read, or why it cannot be used.

    Attributes
    ----------
    pixels
        `(image_size, image_size, 3)` uint8 RGB, cropped and resized; None where it cannot be used.
    sha256
        Of its file, in hexadecimal.
    reason
        Why it cannot be used.
    """

    cataid: str
    pixels: np.ndarray | None
    sha256: str
    reason: str


def read_for_model(
    job: tuple[str, str, int],
    path: Path,
    kind: Literal["folder", "zip"],
    max_pixels: int,
    preprocess: PreprocessParams,
    denoiser: DenoiserParams | None,
) -> ReadImage:
    """Read, decode, denoise and prepare one image, or say why that cannot be; runs in a process of its own.

    Parameters
    ----------
    job
        The galaxy, its image's name, and the image's place in the source.
    path, kind
        Of the source; see `members.read_member`.
    max_pixels
        A larger image is not decoded.
    preprocess
        What the model sees.
    denoiser
        Of the model's variant; None where there is none, or the image went through it already.
    """
    cataid, name, place = job
    try:
        content = read_member(path, kind, name, place, max_bytes(max_pixels))
        pixels = decode_image(content, name, max_pixels).pixels
        if is_blank(pixels):
            raise ImageError(f"{name}: blank, every pixel is {pixels[0, 0].tolist()}.")
    except (ImageError, ArchiveError) as error:
        return ReadImage(cataid, None, "", str(error))
    return ReadImage(cataid, prepare_raw(pixels, preprocess, denoiser), hashlib.sha256(content).hexdigest(), "")
