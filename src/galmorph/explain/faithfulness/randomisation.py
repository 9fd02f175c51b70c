"""The model-randomisation check: whether an explanation changes when the model forgets what it learned.

Weights are drawn anew in a cascade from the logit to the image, layer by layer, each from its layer's own initialisers,
and the maps of the model that is left are compared with those of the trained one (Adebayo et al. 2018,
arXiv:1810.03292). A map that stays the same shows the image and not the model: an edge detector would do as well.

The comparison is Spearman's rank correlation of the absolute maps, and beside it that of the maps as they are. Its sign
is kept. Grad-CAM of a ResNet50 at 64 pixels has four cells, and two random rankings of four have a mean absolute
correlation of 0.5: only where signs are kept does chance cancel, over galaxies and over draws of the weights. For that
the end of the cascade, where all weights are random, is reached several times with other weights.

Departures from the paper: layers of one block go one after another, and no structural similarity is computed, since it
needs a normalisation that maps of different units do not share.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from galmorph.explain.base import Explainer, attribute_by
from galmorph.explain.faithfulness.answers import Answers
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.maps import empty, rank_correlations
from galmorph.explain.faithfulness.weights import draw_anew, weighted_layers, weights_kept
from galmorph.params import RandomisationParams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """How alike a method's maps still are at one point of the cascade.

    Attributes
    ----------
    layers, of
        How many layers with weights have been drawn anew, and how many there are.
    absolute, signed
        `(N,)` rank correlation of absolute maps, and of maps as they are; the mean over the draws where there are
        several. A map that the random model leaves empty is like nothing, 0; NaN where the trained model's is empty.
    empty
        How many of the random model's maps were empty, of `maps` that were made.
    """

    layers: int
    of: int
    absolute: Array
    signed: Array
    empty: int
    maps: int


def randomisation(
    model: keras.Model,
    answers: Answers,
    explainers: Mapping[str, Explainer],
    galaxies: Galaxies,
    maps: Mapping[str, np.ndarray],
    params: RandomisationParams,
    seed: int,
    progress: Callable[[str], None],
) -> dict[str, list[Stage]]:
    """Compare every method's maps with those it makes of models with ever more random weights.

    Parameters
    ----------
    model
        Its weights are its own again at the end, whatever happens.
    answers, explainers
        Of that very model.
    galaxies
        Images and targets.
    maps
        By method, `(N, S, S)` of the model as it is.
    params
        `stages` and `draws`.
    seed
        Of the weights.
    progress
        Told what is done next.

    Returns
    -------
    dict
        By method, the points of the cascade in order; at the last, everything is random.

    Raises
    ------
    ModelError
        When a layer cannot be drawn anew; see `galmorph.explain.faithfulness.weights.draw_anew`.
    """
    layers = weighted_layers(model)[::-1]
    stops = sorted({-(-len(layers) * stage // params.stages) for stage in range(1, params.stages + 1)} - {0})
    found: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in stops] for name in explainers}
    with weights_kept(model):
        for draw in range(params.draws):
            random = np.random.default_rng([seed, draw])
            for count, layer in enumerate(layers, 1):
                draw_anew(layer, random)
                if count in stops and (draw == 0 or count == len(layers)):
                    progress(f"maps of a model with {count} of {len(layers)} layers random")
                    for name, drawn in _maps(answers, explainers, galaxies).items():
                        found[name][stops.index(count)].append(drawn)
    return {
        name: [_stage(count, len(layers), maps[name], drawn) for count, drawn in zip(stops, found[name], strict=True)]
        for name in explainers
    }


def _maps(answers: Answers, explainers: Mapping[str, Explainer], galaxies: Galaxies) -> dict[str, np.ndarray]:
    """Explain what a random model says; zeros where it answers no number, since its layers overflow."""
    places = np.flatnonzero(np.isfinite(answers.log_odds(galaxies.images)))
    with np.errstate(over="ignore", invalid="ignore"):
        made = attribute_by(explainers, galaxies.images[places], galaxies.targets(places))
    found = {name: np.zeros(galaxies.images.shape[:3], np.float32) for name in explainers}
    for name, of_method in made.items():
        found[name][places] = of_method.maps
    return found


def _stage(count: int, of: int, true: np.ndarray, drawn: list[np.ndarray]) -> Stage:
    absolute = np.mean([_similarity(np.abs(true), np.abs(random)) for random in drawn], axis=0)
    signed = np.mean([_similarity(true, random) for random in drawn], axis=0)
    said_nothing = sum(int(empty(random).sum()) for random in drawn)
    return Stage(count, of, absolute, signed, said_nothing, len(drawn) * len(true))


def _similarity(true: np.ndarray, random: np.ndarray) -> Array:
    similar = np.nan_to_num(rank_correlations(true, random))
    similar[empty(true)] = np.nan
    return similar
