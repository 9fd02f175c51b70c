"""All scores of all methods, galaxy by galaxy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from galmorph.errors import InputError
from galmorph.explain.base import Explainer
from galmorph.explain.faithfulness.agreement import agreement, sparsity
from galmorph.explain.faithfulness.answers import Answers
from galmorph.explain.faithfulness.blank_channel import Filled, filled_channels
from galmorph.explain.faithfulness.deletion import deletion_and_insertion
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.maps import empty
from galmorph.explain.faithfulness.mu_fidelity import falls, hidden_sets, mu_fidelity
from galmorph.explain.faithfulness.on_galaxy import REGIONS, Energy, energies
from galmorph.explain.faithfulness.randomisation import Stage, randomisation
from galmorph.explain.faithfulness.stability import noise_stability, turn_stability
from galmorph.params import FaithfulnessParams, PreprocessParams

Array = NDArray[np.float64]

#: Every score of a method, in the order of the report.
SCORES = (
    "deletion",
    "insertion",
    "deletion_against_random",
    "insertion_against_random",
    "mu_fidelity",
    "noise_stability",
    "turn_stability",
    "sparsity",
    "galaxy_share",
    "neighbour_share",
    "sky_share",
    "galaxy_share_over_uniform",
    "pointing",
)


@dataclass(frozen=True)
class Measurements:
    """What was measured of every galaxy.

    Attributes
    ----------
    cataids
        `(N,)`, the order of every array.
    scores
        By method and score (`SCORES`), `(N,)`; NaN where a galaxy has none.
    empty
        By method, `(N,)` bool: the map points nowhere, since all its pixels have one value, or some have none.
    found
        `(N,)` bool: a galaxy is found in the crop.
    stable
        `(N,)` bool: explained again with noise and turned.
    uniform
        `(N, 4)` share of the crop that each of `on_galaxy.REGIONS` covers.
    agreement
        `(N, M, M)` rank correlation between methods, in the order of `scores`.
    randomisation
        By method, the points of the cascade.
    filled
        The galaxies with a blank channel.
    """

    cataids: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Array]]
    empty: Mapping[str, np.ndarray]
    found: np.ndarray
    stable: np.ndarray
    uniform: Array
    agreement: Array
    randomisation: Mapping[str, list[Stage]]
    filled: list[Filled]


def measure(
    explainers: Mapping[str, Explainer],
    model: keras.Model,
    galaxies: Galaxies,
    attributions: Mapping[str, np.ndarray],
    preprocess: PreprocessParams,
    params: FaithfulnessParams,
    seed: int,
    batch_size: int,
    progress: Callable[[str], None],
) -> Measurements:
    """Score every method.

    Random numbers depend on the seed and a galaxy's id. At any time no more than a batch of altered images is in
    memory, beside the maps that the explainers make of one; images, frames and attributions may be memory-mapped.

    Parameters
    ----------
    explainers
        By name, made for `model`.
    model
        A galmorph model. Its weights change on the way, and are its own again at the end, whatever happens.
    galaxies
        Images, cutouts, targets and blank channels.
    attributions
        By name, `(N, S, S)` float32: what each explainer makes of the images and targets.
    preprocess
        The model's crop and size.
    params
        Of the scores.
    seed
        Of all that is random.
    batch_size
        Images at a time.
    progress
        Told what is done next.

    Returns
    -------
    Measurements
        `galmorph.explain.faithfulness.record` makes means, intervals and verdicts of it.

    Raises
    ------
    InputError
        When attributions are missing or not of the images' size, there is no galaxy, or cutouts are missing.
    ModelError
        When a layer's weights cannot be drawn anew.
    """
    _check(explainers, galaxies, attributions)
    answers = Answers(model, batch_size)
    progress("energy on the galaxies")
    energy = energies(galaxies.frames, attributions, preprocess)
    progress("answers with parts hidden")
    sets = hidden_sets(galaxies.images.shape[1], params, seed)
    fallen = falls(answers, galaxies, sets, params)
    asked_again = galaxies.some(params.stability_galaxies, seed)
    progress("maps of noisy and turned images")
    stability = _stability_scores(explainers, galaxies, attributions, asked_again, params, seed, batch_size)
    scores: dict[str, dict[str, Array]] = {}
    for name, explainer in explainers.items():
        progress(f"scores of {explainer.title}")
        maps = attributions[name]
        scores[name] = {
            **_deletion_scores(answers, galaxies, maps, params, seed),
            "mu_fidelity": mu_fidelity(maps, sets, fallen),
            **stability[name],
            "sparsity": sparsity(maps),
            **_energy_scores(energy, name),
        }
    randomised = galaxies.some(params.randomisation.galaxies, seed)
    stages = randomisation(
        model,
        answers,
        explainers,
        galaxies.only(randomised),
        {name: attributions[name][randomised] for name in explainers},
        params.randomisation,
        seed,
        progress,
    )
    return Measurements(
        cataids=tuple(galaxies.cataids),
        scores=scores,
        empty={name: empty(attributions[name]) for name in explainers},
        found=~np.isnan(energy.uniform[:, 0]),
        stable=np.isin(np.arange(len(galaxies)), asked_again),
        uniform=energy.uniform,
        agreement=agreement({name: attributions[name] for name in explainers}),
        randomisation=stages,
        filled=filled_channels(answers, galaxies),
    )


def _check(explainers: Mapping[str, Explainer], galaxies: Galaxies, attributions: Mapping[str, np.ndarray]) -> None:
    if not len(galaxies) or not explainers:
        raise InputError(
            "explanations are scored on at least one galaxy and of at least one method; raise "
            f"explain.faithfulness.galaxies or name explain.methods. Received: {len(galaxies)} galaxies and "
            f"{len(explainers)} methods"
        )
    for name in explainers:
        shape = attributions[name].shape if name in attributions else None
        if shape != galaxies.images.shape[:3]:
            raise InputError(
                f"{name}: its attributions of the scored galaxies must be of shape {galaxies.images.shape[:3]}; "
                f"compute them again. Received: {shape if shape else 'none'}"
            )


def _deletion_scores(
    answers: Answers, galaxies: Galaxies, maps: np.ndarray, params: FaithfulnessParams, seed: int
) -> dict[str, Array]:
    areas = deletion_and_insertion(answers, galaxies, maps, params, seed)
    return {
        "deletion": areas.deletion,
        "insertion": areas.insertion,
        "deletion_against_random": areas.deletion - areas.deletion_displaced,
        "insertion_against_random": areas.insertion - areas.insertion_displaced,
    }


def _stability_scores(
    explainers: Mapping[str, Explainer],
    galaxies: Galaxies,
    attributions: Mapping[str, np.ndarray],
    places: np.ndarray,
    params: FaithfulnessParams,
    seed: int,
    batch_size: int,
) -> dict[str, dict[str, Array]]:
    some, maps = galaxies.only(places), {name: attributions[name][places] for name in explainers}
    found = {
        "noise_stability": noise_stability(explainers, some, maps, params, seed, batch_size),
        "turn_stability": turn_stability(explainers, some, maps, batch_size),
    }
    scores = {name: {score: np.full(len(galaxies), np.nan) for score in found} for name in explainers}
    for score, of_methods in found.items():
        for name, values in of_methods.items():
            scores[name][score][places] = values
    return scores


def _energy_scores(energy: Energy, name: str) -> dict[str, Array]:
    shares = dict(zip(REGIONS, energy.shares[name].T, strict=True))
    return {
        "galaxy_share": shares["galaxy"],
        "neighbour_share": shares["neighbours"],
        "sky_share": shares["sky"],
        "galaxy_share_over_uniform": shares["galaxy"] - energy.uniform[:, 0],
        "pointing": energy.pointing[name],
    }
