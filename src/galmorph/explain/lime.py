"""LIME: a linear model of how an answer changes when pieces of the image are hidden."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np
from lime.lime_image import LimeImageExplainer

from galmorph.explain.answers import LogitAnswerer, changes
from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.baselines import baselines
from galmorph.explain.superpixels import superpixels
from galmorph.params import LimeParams

#: Answers batch after batch of images with logits.
Answer = Callable[[Iterable[np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class LocalFit:
    """A linear model of a logit about one image.

    Attributes
    ----------
    coefficients
        `(K,)` float64: of each super-pixel, how much showing it raises the logit.
    r2
        Weighted coefficient of determination; NaN where nothing changed the logit.
    """

    coefficients: np.ndarray
    r2: float


class Lime(Explainer):
    """Local interpretable model-agnostic explanations, by the authors' package.

    Half of the super-pixels, drawn at random, are hidden, over and over; a ridge regression, weighted by how much of
    the image is left, is fitted to the model's logits; each super-pixel's coefficient is its pixels' value. How well
    the fit went says how far to trust it.
    Departures from the paper and from the package's defaults: the logit is explained, not the probability: it is what
    the pieces' evidence adds up to, and it does not flatten where the sigmoid saturates. Super-pixels are
    `galmorph.explain.superpixels`, and a hidden one shows the image's baseline. All super-pixels take part in the fit,
    none is selected. The package's kernel, distance and ridge are as they are.

    An answer is the same whenever and beside whatever an image is asked about: the package's random numbers begin
    anew for each image, from the seed and the image's own values (its `random_seed` would seed its segmentation only).

    Attributions carry these facts: `r2`, the weighted coefficient of determination of the fit, NaN where hiding
    changed nothing and so nothing was fitted (the map is 0 then); `superpixels`, how many there are; `galaxy_found`,
    whether there is a galaxy at the centre: where there is none, annuli lie about the image's centre.

    Parameters
    ----------
    model
        A galmorph model.
    params
        Super-pixels, how many samples, and what hidden ones show.
    seed
        Of the samples.
    batch_size
        Images at a time.

    References
    ----------
    Ribeiro, Singh & Guestrin 2016, "Why Should I Trust You?: Explaining the Predictions of Any Classifier", KDD,
    doi:10.1145/2939672.2939778.
    """

    name = "lime"
    title = "LIME"
    meaning = (
        "how much showing the super-pixel around a pixel, instead of hiding it, raises the class's logit in a linear "
        "fit; a super-pixel's value is that of the whole, not a share for each of its pixels"
    )
    signed = True

    def __init__(self, model: keras.Model, params: LimeParams, seed: int, batch_size: int) -> None:
        super().__init__(model, batch_size)
        self.params, self.seed = params, seed
        self._answer = LogitAnswerer(model, batch_size)

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        maps = np.empty(images.shape[:3], np.float32)
        facts = {"r2": np.empty(len(images)), "superpixels": np.empty(len(images), np.int64)}
        found = np.empty(len(images), bool)
        hidden = baselines(images, self.params.hidden)
        for at, image in enumerate(images):
            pieces = superpixels(image, self.params)
            explainer = _BatchedExplainer(feature_selection="none", random_state=image_seed(self.seed, image))
            fit = explainer.fit(
                image, hidden[at], pieces.labels, self._answer.logits, self.params.samples, self.batch_size
            )
            maps[at] = signs[at] * fit.coefficients[pieces.labels]
            facts["r2"][at], facts["superpixels"][at], found[at] = fit.r2, pieces.count, pieces.galaxy_found
        return Attributions(maps, {**facts, "galaxy_found": found})


def image_seed(seed: int, image: np.ndarray) -> int:
    """Seed of one image's random numbers: another image or another seed gives others, another place in a batch not."""
    return zlib.crc32(np.ascontiguousarray(image).tobytes(), seed & 0xFFFFFFFF)


class _BatchedExplainer(LimeImageExplainer):
    """The package's explainer, asking the model about each mask once, in large batches."""

    def fit(
        self,
        image: np.ndarray,
        hidden: np.ndarray,
        labels: np.ndarray,
        answer: Answer,
        samples: int,
        batch_size: int,
    ) -> LocalFit:
        """Fit a linear model to the answers to an image with super-pixels hidden.

        Parameters
        ----------
        image, hidden
            `(S, S, 3)` float32: what a super-pixel shows, and what it shows when it is hidden.
        labels
            `(S, S)` int: super-pixels, 0 to K - 1.
        answer
            The model.
        samples
            How many masks; the first hides nothing.
        batch_size
            Images at a time.
        """
        explanation = self.explain_instance(
            image,
            answer,
            labels=(0,),
            top_labels=None,
            # Called a colour, but assigned to the whole image: an image of the same shape is taken as it is.
            hide_color=hidden,
            num_samples=samples,
            batch_size=batch_size,
            segmentation_fn=lambda _: labels,
        )
        coefficients = np.zeros(int(labels.max()) + 1)
        for piece, coefficient in explanation.local_exp[0]:
            coefficients[piece] = coefficient
        # The package calls it a perfect fit when there was nothing to fit.
        return LocalFit(coefficients, float(explanation.score) if coefficients.any() else float("nan"))

    def data_labels(
        self,
        image: np.ndarray,
        fudged_image: np.ndarray,
        segments: np.ndarray,
        classifier_fn: Answer,
        num_samples: int,
        batch_size: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw masks as the package does, and ask about each of them once.

        Returns
        -------
        masks : numpy.ndarray
            `(num_samples, K)` int, 1 where a super-pixel is shown; the first is all 1.
        logits : numpy.ndarray
            `(num_samples, 1)` float64, less the whole image's: a linear fit takes it up in its intercept.
        """
        count = int(segments.max()) + 1
        masks = self.random_state.randint(0, 2, num_samples * count).reshape(num_samples, count)
        masks[0] = 1
        unique, place = np.unique(masks, axis=0, return_inverse=True)
        shown = unique.astype(bool)
        logits = classifier_fn(
            np.where(shown[start : start + batch_size, segments][..., None], image, fudged_image)
            for start in range(0, len(shown), batch_size)
        )[place.ravel()]
        return masks, changes(logits, logits[0])[:, None]
