"""The one contract of every explanation method.

An explainer says, for each pixel that the model saw, how much it speaks for a class.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import keras
import numpy as np

from galmorph.errors import InputError

#: Sign of a class's logit: the model has one logit, for Elliptical.
_SIGN = {"Elliptical": 1.0, "Other": -1.0}


@dataclass(frozen=True)
class Attributions:
    """What a method has to say about a set of images.

    Attributes
    ----------
    maps
        `(N, S, S)` float32; what a value means, the method says.
    facts
        What the method measured on the way, `(N,)` each: how well it fitted, how many steps it took.
    """

    maps: np.ndarray
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)


class Explainer(ABC):
    """A method that attributes a model's answer to pixels.

    An answer depends on the image and its target alone: not on the batch it came in, nor on what was asked before. It
    reads the model's weights when it is asked, so that it explains whatever they are then.

    Attributes
    ----------
    name
        In params.yaml.
    title
        On pictures.
    meaning
        What a pixel's value is, in a sentence for the report.
    signed
        Whether negative values mean evidence against the class.
    classless
        Whether maps are the same for either class.
    refines
        The method whose answers this one makes its own of, by `refined`; None: it makes them itself.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    meaning: ClassVar[str]
    signed: ClassVar[bool] = False
    classless: ClassVar[bool] = False
    refines: ClassVar[str | None] = None

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size

    def explain(self, images: np.ndarray, target: list[str]) -> np.ndarray:
        """Attribute the logit of each image's target class to its pixels; `attribute` without the facts."""
        return self.attribute(images, target).maps

    def attribute(self, images: np.ndarray, target: list[str]) -> Attributions:
        """Attribute the logit of each image's target class to its pixels.

        Parameters
        ----------
        images
            `(N, S, S, 3)` RGB in [0, 255] at the model's size, uint8 or float. N may be 0.
        target
            The class to explain for each image: `Elliptical` or `Other`.

        Returns
        -------
        Attributions
            Maps, and facts of the method's own.

        Raises
        ------
        InputError
            When images or targets are not what they must be.
        """
        floats = checked_images(images, tuple(self.model.input_shape[1:]))
        signs = target_signs(target)
        if len(signs) != len(floats):
            raise InputError(f"every image needs a target. Received: {len(floats)} images and {len(signs)} targets")
        return self._attribute(floats, signs)

    def refined(self, made: Attributions) -> Attributions:
        """Make this method's answers of those that the method it `refines`, of the same values, gave."""
        raise NotImplementedError(f"{self.name} refines no other method")

    @abstractmethod
    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        """Attribute; `(N, S, S, 3)` float32 in [0, 255], and `(N,)` float32: 1 for Elliptical, -1 for Other."""


def attribute_by(explainers: Mapping[str, Explainer], images: np.ndarray, target: list[str]) -> dict[str, Attributions]:
    """Attribute by several methods of one model and one set of values, by name.

    What another of them refines is made once, where it comes first.
    """
    made: dict[str, Attributions] = {}
    for name, explainer in explainers.items():
        made[name] = attribute_after(made, explainer, images, target)
    return made


def attribute_after(
    made: Mapping[str, Attributions], explainer: Explainer, images: np.ndarray, target: list[str]
) -> Attributions:
    """Attribute by a method; of what it refines, where that was `made` of the same images and targets already."""
    source = made.get(explainer.refines or "")
    return explainer.attribute(images, target) if source is None else explainer.refined(source)


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
        When the shape is not the model's, the values are no numbers, or lie outside [0, 255].
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != input_shape:
        raise InputError(
            f"images must be of shape (N, {', '.join(map(str, input_shape))}); prepare them with data.dataset.prepare. "
            f"Received: {images.shape}"
        )
    if not (images.dtype == np.uint8 or np.issubdtype(images.dtype, np.floating)):
        raise InputError(f"images must be uint8 or float, in [0, 255]. Received: {images.dtype}")
    floats = images.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(floats).all((1, 2, 3)))
    if len(broken):
        raise InputError(f"images must hold finite numbers. Received: NaN or infinity in image {broken[0]}")
    if floats.size and (floats.min() < 0 or floats.max() > 255):
        raise InputError(
            f"images must lie in [0, 255], as the astronomer sees them; scaling is the model's own. Received: values "
            f"from {floats.min():g} to {floats.max():g}"
        )
    return floats
