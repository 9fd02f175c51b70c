"""The stages of the pipeline: each reads files, calls the core, writes files.

`STAGES` is the one list of them. The command line is generated from it, and a contract test holds dvc.yaml, MLproject
and the other runners to it. Nothing below this module (and `storage`) knows a path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galmorph import params as p
from galmorph import storage
from galmorph.edge import acquire_archive, acquire_cutouts, acquire_simulated

#: Where a variant's images lie; `{variant}` stands for its name.
RAW_IMAGES = "data/raw/images"
VARIANT_IMAGES = "data/variants/{variant}"


@dataclass(frozen=True)
class Stage:
    """A stage: a function from paths and parameters to files.

    Attributes
    ----------
    run
        The function. Its keywords are `inputs`, `outputs` and `params` (and `each`, where it runs once for each row
        of a table).
    inputs, outputs
        Path of each keyword, relative to the working folder; `{variant}` and `{experiment}` stand for the row,
        `{images}` for the folder of the row's variant.
    params
        The model of what `run` gets as `params`.
    sections
        The sections of params.yaml that make `params`: one that is taken as it is, or several under their own names.
    each
        The table of params.yaml that the stage runs once for each row of: `variant` or `experiment`.
    packages
        The folders of the package whose code the stage runs, and must run again for when they change.
    through
        Inputs that DVC sees through another one: an `images` folder through the `card` that holds its digest.
    """

    run: Callable[..., None]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    params: Any
    sections: tuple[str, ...]
    packages: tuple[str, ...]
    each: str | None = None
    through: Mapping[str, str] = field(default_factory=dict)


def acquire(raw: Path, params: p.AcquireParams) -> None:
    """Simulate, unpack or fetch galaxies: a catalogue and an image each."""
    sources = {
        "simulate": acquire_simulated.fill,
        "archive": acquire_archive.fill,
        "cutouts": acquire_cutouts.fill,
    }
    with storage.output_folder(raw, work=storage.fingerprint("acquire", params.model_dump(mode="json"))) as folder:
        sources[params.source](folder, params)


def validate(raw: Path, manifest: Path, card: Path, report: Path, params: p.ValidateParams) -> None:
    """Measure every image, quarantine what cannot be used, and stop when the data as a whole is not fit."""


def split(manifest: Path, splits: Path, params: p.SplitParams) -> None:
    """Assign each accepted galaxy to train, validation or test."""


def denoise(
    raw: Path, manifest: Path, images: Path, card: Path, report: Path, params: p.DenoiserParams, each: str
) -> None:
    """Denoise every accepted image with one denoiser."""


def train(splits: Path, images: Path, card: Path, model: Path, params: p.TrainStageParams, each: str) -> None:
    """Train one experiment's model."""


def evaluate(
    model: Path,
    splits: Path,
    images: Path,
    card: Path,
    evaluation: Path,
    record: Path,
    params: p.EvaluateParams,
    each: str,
) -> None:
    """Score one experiment's model on held-out galaxies."""


def compare(evaluations: Path, records: Path, leaderboard: Path, best: Path, params: p.CompareStageParams) -> None:
    """Rank the experiments beside the published figures, and choose the best on validation."""
