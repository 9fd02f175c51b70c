"""Galaxies of the report: pictures and numbers of one, gathered from what was computed of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from galmorph.data.dataset import THRESHOLD
from galmorph.data.segment import segment
from galmorph.edge.subject import Subject
from galmorph.explain.base import Explainer
from galmorph.explain.explained import Activation, Explained, MethodMap
from galmorph.explain.faithfulness.agreement import agreement
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.maps import TURNS, turned
from galmorph.explain.faithfulness.on_galaxy import REGIONS, Energy, energies
from galmorph.explain.faithfulness.stability import turn_stability
from galmorph.explain.reason import Evidence, Numbers, Turns
from galmorph.models.predict import predict_logits
from galmorph.params import ExplainParams


def explained(
    row: Mapping[str, Any],
    image: np.ndarray,
    maps: Sequence[MethodMap],
    activations: tuple[Activation, ...],
) -> Explained:
    """Put a galaxy, its answer and its maps together."""
    return Explained(
        cataid=row["CATAID"],
        label=row["label"],
        predicted=row["predicted"],
        p_elliptical=row["p_elliptical"],
        logit=row["logit"],
        chosen_as=row["chosen_as"],
        image=image,
        blank_channel=row["blank_channel"],
        maps=tuple(maps),
        activations=activations,
    )


def numbers(
    galaxies: Sequence[Explained],
    subject: Subject,
    methods: Mapping[str, Explainer],
    record: Mapping[str, Any],
    params: ExplainParams,
) -> list[Numbers]:
    """Gather what is known of each answer, for its reasons in words.

    The evidence is that of the first method, whose map is laid over the cutout.
    """
    name, explainer = next(iter(methods.items()))
    maps = {method: np.stack([galaxy.maps[at].attribution for galaxy in galaxies]) for at, method in enumerate(methods)}
    images = subject.prepared([galaxy.cataid for galaxy in galaxies])
    energy = energies((galaxy.image for galaxy in galaxies), maps, subject.facts.preprocess)
    asked = Galaxies(
        [galaxy.cataid for galaxy in galaxies],
        images,
        (),
        [galaxy.predicted for galaxy in galaxies],
        [galaxy.blank_channel for galaxy in galaxies],
    )
    stability = turn_stability({name: explainer}, asked, {name: maps[name]}, params.batch_size)[name]
    alike = agreement(maps)
    turns = _turns(subject, images, params.batch_size)
    verdicts = {check: found["verdict"] for check, found in record["methods"][name]["verdicts"].items()}
    accuracy = subject.scores.get("accuracy", {}).get("value")
    return [
        Numbers(
            predicted=galaxy.predicted,
            p_elliptical=galaxy.p_elliptical,
            threshold=THRESHOLD,
            label=galaxy.label,
            accuracy=accuracy,
            evidence=_evidence(explainer.title, galaxy, energy, name, at),
            galaxy_found=bool(segment(galaxy.image).galaxy.any()),
            blank_channels=len(galaxy.blank_channel),
            turns=turns[at],
            map_stability=_known(stability[at]),
            agreement=_mean_agreement(alike[at]),
            verdicts=verdicts,
        )
        for at, galaxy in enumerate(galaxies)
    ]  # fmt: skip


def _evidence(title: str, galaxy: Explained, energy: Energy, name: str, at: int) -> Evidence:
    of = dict(zip(REGIONS, (_known(share) for share in energy.shares[name][at]), strict=True))
    pointing = energy.pointing[name][at]
    return Evidence(
        method=title,
        empty=galaxy.maps[0].empty,
        galaxy=of["galaxy"],
        neighbours=of["neighbours"],
        sky=of["sky"],
        uniform=_known(energy.uniform[at, REGIONS.index("galaxy")]),
        pointing=None if np.isnan(pointing) else bool(pointing),
    )


def _turns(subject: Subject, images: np.ndarray, batch_size: int) -> list[Turns]:
    """Answer every image turned and mirrored; the first of its eight views is the image as it is."""
    views = np.concatenate([turned(images, turn) for turn in TURNS])
    _, answered = predict_logits(subject.model, views, batch_size)
    of_images = answered.reshape(len(TURNS), len(images)).T
    return [
        Turns(int(((p >= THRESHOLD) == (p[0] >= THRESHOLD)).sum()), len(p), float(p.min()), float(p.max()))
        for p in of_images
    ]


def _mean_agreement(matrix: np.ndarray) -> float | None:
    """Mean rank correlation between the methods' maps of one galaxy; None where there are no two that say something."""
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    known = pairs[~np.isnan(pairs)]
    return float(known.mean()) if known.size else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
