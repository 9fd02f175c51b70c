"""Made-up galaxies with explanations, and what checks would say of them: enough for panels, sheets and reports."""

from typing import Any

import numpy as np
import pandas as pd

from galmorph.explain.explained import AboutMethod, Activation, Explained, MethodMap
from galmorph.explain.reason import Evidence, Numbers, Turns, reasons
from galmorph.explain.report import Checked, Model, Reported
from galmorph.params import PreprocessParams

#: What the model of these galaxies sees.
SEEN = PreprocessParams(crop=0.5, image_size=64)
METHODS = (
    AboutMethod("grad_cam", "Grad-CAM", "how much features around a pixel raise the logit", False, False),
    AboutMethod("grad_cam_tv", "Grad-CAM, TV-denoised", "the same, smoothed", False, False),
    AboutMethod("integrated_gradients", "Integrated Gradients", "what a pixel adds to the logit", True, False),
    AboutMethod("integrated_gradients_denoised", "Integrated Gradients, noise-reduced", "the same", True, False),
    AboutMethod("smooth_grad", "SmoothGrad", "the gradient over noisy copies", True, False),
    AboutMethod("lime", "LIME", "what a region adds to the logit in a linear model", True, False),
    AboutMethod("occlusion", "Occlusion", "how far the logit falls without a square around the pixel", True, False),
    AboutMethod("attention_rollout", "Attention rollout", "how much the answer attends to a pixel", False, True),
)
#: Names of a record's scores and checks, as `galmorph.explain.faithfulness` writes them.
SCORES = (
    "deletion", "insertion", "deletion_against_random", "insertion_against_random", "mu_fidelity", "noise_stability",
    "turn_stability", "sparsity", "galaxy_share", "neighbour_share", "sky_share", "galaxy_share_over_uniform",
    "pointing",
)  # fmt: skip
CHECKS = ("randomisation", "deletion", "insertion", "on_galaxy")


def cutout(seed: int, height: int = 300, width: int = 300) -> np.ndarray:
    """A smooth galaxy at the centre, a neighbour outside the crop, and sky noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centre = np.exp(-(np.hypot((y - height / 2) / 14, (x - width / 2) / 22) ** 1.2))
    other = 0.7 * np.exp(-np.hypot(y - 0.1 * height, x - 0.1 * width) / 6)
    light = 200 * (centre + other)[..., None] * np.array([1.0, 0.8, 0.6])
    return np.clip(light + rng.normal(6, 2, (height, width, 3)), 0, 255).astype(np.uint8)


def explained(number: int, **changes: Any) -> Explained:
    """A galaxy with every method's map and three activations."""
    rng = np.random.default_rng(number)
    size = SEEN.image_size
    hill = np.exp(-((np.mgrid[:size, :size] - size / 2) ** 2).sum(0) / 200).astype(np.float32)
    facts = {
        "integrated_gradients": {"converged": 0.0, "convergence_delta": -0.25, "steps": 256.0},
        "lime": {"r2": 0.83, "superpixels": 30.0, "galaxy_found": 1.0},
    }
    p = float(rng.uniform())
    galaxy = {
        "cataid": f"{number:06d}",
        "label": ("Elliptical", "Other")[number % 2],
        "predicted": "Elliptical" if p >= 0.5 else "Other",
        "p_elliptical": p,
        "logit": float(np.log(p / (1 - p))),
        "chosen_as": ("most_wrong", "borderline", "most_confident", "random")[number % 4],
        "image": cutout(number),
        "blank_channel": "",
        "maps": tuple(
            MethodMap(
                about, hill * rng.normal(1 - about.signed, 1, hill.shape).astype(np.float32), facts.get(about.name, {})
            )
            for about in METHODS
        ),
        "activations": tuple(Activation(f"block{k}_conv", hill[::8, ::8] * k) for k in (1, 2, 3)),
    }
    return Explained(**{**galaxy, **changes})


def score(value: float | None, n: int = 16) -> dict[str, Any]:
    """A score with an interval."""
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {"value": value, "low": ends[0], "high": ends[1], "n": n}


def checked(galaxies: list[Explained]) -> Checked:
    """A record in the layout of `galmorph.explain.faithfulness`, with every kind of verdict and a missing score."""
    verdicts = ("passed", "failed", "undecided")
    names = [about.name for about in METHODS]
    rng = np.random.default_rng(3)
    shares = pd.DataFrame(
        [
            {"CATAID": galaxy.cataid, "method": name, "galaxy": share, "neighbours": 0.1, "sky": 0.2, "uniform": 0.3}
            for name in names
            for galaxy in galaxies
            for share in [float(rng.uniform())]
        ]
    )
    matrix = np.eye(len(names)) + 0.4 * (1 - np.eye(len(names)))
    record = {
        "scored_split": "test",
        "galaxies": len(galaxies),
        "methods": {
            about.name: {
                "title": about.title,
                "scores": {
                    name: {**score(None, 0), "left_out": {"empty map": 16}}
                    if (name, k) == ("mu_fidelity", 1)
                    else score(round(float(rng.uniform()), 3))
                    for name in SCORES
                },
                "verdicts": {
                    check: {
                        "verdict": verdicts[0] if k == 0 else verdicts[(k + place) % 3],
                        "reason": f"the mean is 0.{k}{place} [0.10, 0.20]",
                    }
                    for place, check in enumerate(CHECKS)
                },
            }
            for k, about in enumerate(METHODS)
        },
        "agreement": {"methods": names, "matrix": matrix.tolist()},
        "on_galaxy": {
            "uniform": score(0.3),
            "neighbours": [
                {"CATAID": galaxies[0].cataid, "method": name, "galaxy_share": 0.12, "neighbour_share": 0.5}
                for name in ("grad_cam", "lime")
            ],
            "blank_channel": [],
        },
        "randomisation": {
            name: [{"layers": done, "of": 6, "correlation": score(1 - 0.1 * k * done / 6, 4)} for done in (0, 2, 4, 6)]
            for k, name in enumerate(names)
        },
        "seed": 7,
    }
    return Checked(record, shares)


def model(**changes: Any) -> Model:
    """What the page says of the model."""
    values = {
        "experiment": "regularised_cnn_bilateral",
        "facts": [("architecture", "regularised_cnn, 64 px"), ("data digest", "0123456789abcdef" * 4)],
        "preprocess": SEEN,
        "split": "test",
        "scores": {"accuracy": score(0.87), "ece": {"value": 0.02, "low": None, "high": None}},
    }
    return Model(**{**values, **changes})


def numbers(galaxy: Explained, **changes: Any) -> Numbers:
    """Every number that a paragraph can be made of."""
    values = {
        "predicted": galaxy.predicted,
        "p_elliptical": galaxy.p_elliptical,
        "threshold": 0.5,
        "label": galaxy.label,
        "accuracy": 0.87,
        "evidence": Evidence("Grad-CAM", False, 0.6, 0.1, 0.2, 0.3, True),
        "galaxy_found": True,
        "blank_channels": len(galaxy.blank_channel),
        "turns": Turns(7, 8, 0.4, 0.6),
        "map_stability": 0.8,
        "agreement": 0.5,
        "verdicts": {"randomisation": "passed", "deletion": "failed", "insertion": "undecided"},
    }
    return Numbers(**{**values, **changes})


def reported(galaxy: Explained) -> Reported:
    """A galaxy with its reasons."""
    return Reported(galaxy, reasons(numbers(galaxy)))
