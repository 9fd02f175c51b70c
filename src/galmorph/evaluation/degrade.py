"""Cutouts as another survey, telescope or file format would have given them."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from galmorph.data.dataset import prepare
from galmorph.params import PreprocessParams, RobustnessParams

#: Each kind of change, in the order they are shown: what its level is measured in, and the level that changes nothing.
KINDS: dict[str, tuple[str, float | None]] = {
    "zoom": ("times the apparent size", 1.0),
    "rotation": ("degrees, anticlockwise", 0.0),
    "brightness": ("times the brightness", 1.0),
    "noise": ("standard deviation, of 255", 0.0),
    "blur": ("standard deviation, pixels of the frame", 0.0),
    "jpeg": ("JPEG quality, of 100", None),
    "padding": ("sides of the frame, black around it", 1.0),
}


@dataclass(frozen=True)
class Setting:
    """One change of a cutout: its kind, a key of `KINDS`, and how far it goes."""

    kind: str
    level: float

    @property
    def name(self) -> str:
        """Write it for a reader: `zoom 0.75`."""
        return f"{self.kind} {self.level:g}"


def settings(params: RobustnessParams) -> Iterator[Setting]:
    """Yield every setting that params.yaml asks for, kind by kind, by rising level."""
    for kind in KINDS:
        yield from (Setting(kind, float(level)) for level in sorted(set(getattr(params, kind))))


def degrade(image: np.ndarray, setting: Setting, seed: int, name: str) -> np.ndarray:
    """Change a cutout before any denoiser has seen it.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB.
    setting
        What to do. `zoom` changes nothing here: it is how much of the frame is looked at; see `view`.
    seed, name
        Of the noise; `name` is the galaxy's.

    Returns
    -------
    numpy.ndarray
        uint8 RGB, of the same shape but for `padding`.
    """
    match setting.kind:
        case "zoom":
            return image
        case "rotation":
            return rotated(image, setting.level)
        case "brightness":
            return _quantised(image * np.float32(setting.level))
        case "noise":
            return _with_noise(image, setting.level, np.random.default_rng([seed, zlib.crc32(name.encode())]))
        case "blur":
            return _quantised(cv2.GaussianBlur(image.astype(np.float32), (0, 0), setting.level))
        case "jpeg":
            return _through_jpeg(image, round(setting.level))
        case "padding":
            return _padded(image, setting.level)
    raise ValueError(f"A setting is one of {', '.join(KINDS)}. Received: {setting.kind!r}")


def view(frame: np.ndarray, setting: Setting, preprocess: PreprocessParams) -> np.ndarray:
    """Crop and resize what the model sees, `(image_size, image_size, 3)` uint8; nearer or farther under `zoom`."""
    return prepare(frame, preprocess, zoom=setting.level if setting.kind == "zoom" else 1.0)


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turn about the frame's centre, anticlockwise; what comes from past the frame is black.

    Quarter turns of a square move pixels and change none; other angles are bicubic, which takes a little noise away.
    """
    height, width = image.shape[:2]
    if degrees % 90 == 0 and (height == width or degrees % 180 == 0):
        return np.ascontiguousarray(np.rot90(image, round(degrees / 90)))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC))


def _with_noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    noise = random.normal(0.0, deviation, image.shape).astype(np.float32)
    # A band that was never observed has no noise either.
    noise[..., np.ptp(image, axis=(0, 1)) == 0] = 0
    return _quantised(image + noise)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def _padded(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    high, wide = round(height * factor), round(width * factor)
    top, left = (high - height) // 2, (wide - width) // 2
    padded = np.zeros((high, wide, 3), np.uint8)
    padded[top : top + height, left : left + width] = image
    return padded


def _quantised(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)
