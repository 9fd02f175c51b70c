"""The one contract of every explanation method.

An explainer says, for each pixel that the model saw, how much it speaks for a class.
"""

from typing import Protocol

import numpy as np

from galmorph.errors import InputError

#: Sign of a class's logit: the model has one logit, for Elliptical.
_SIGN = {"Elliptical": 1.0, "Other": -1.0}


class Explainer(Protocol):
    """A method that attributes a model's answer to pixels."""

    def explain(self, images: np.ndarray, target: list[str]) -> np.ndarray:
        """Attribute the score of a class to the pixels of each image.

        Parameters
        ----------
        images
            `(N, S, S, 3)` RGB in [0, 255] at the model's size, uint8 or float.
        target
            The class to explain for each image: `Elliptical` or `Other`.

        Returns
        -------
        numpy.ndarray
            `(N, S, S)` float32; what a value means, the method says.
        """
        ...


def target_signs(target: list[str]) -> np.ndarray:
    """Return what the logit is multiplied by to score each class, `(N,)` float32.

    Raises
    ------
    InputError
        When a class is not known.
    """
    unknown = sorted(set(target) - set(_SIGN))
    if unknown:
        raise InputError(f"a target must be one of {', '.join(_SIGN)}. Received: {', '.join(map(repr, unknown))}")
    return np.asarray([_SIGN[name] for name in target], np.float32)


def checked_images(images: np.ndarray, input_shape: tuple[int, int, int]) -> np.ndarray:
    """Return images as float32, or say what is wrong with them.

    Raises
    ------
    InputError
        When the shape is not the model's, or a value is not a number.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != input_shape:
        raise InputError(
            f"images must be of shape (N, {', '.join(map(str, input_shape))}); prepare them with data.dataset.prepare. "
            f"Received: {images.shape}"
        )
    floats = images.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(floats).all((1, 2, 3)))
    if len(broken):
        raise InputError(f"images must hold finite numbers. Received: NaN or infinity in image {broken[0]}")
    return floats
