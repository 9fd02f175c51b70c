"""What `galmorph evaluate` looks at beside the scores: slices, and the shortcut check."""

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from galmorph.edge.altered import masked_views
from galmorph.evaluation.check_figures import shortcut_figure, slice_figure
from galmorph.evaluation.masking import masked
from galmorph.evaluation.shortcut import shortcut_record, shortcut_warning
from galmorph.evaluation.slices import slice_record, slice_table, slice_warnings
from galmorph.evaluation.subset import stratified
from galmorph.explain.embedding import png
from galmorph.models.predict import predict_logits
from galmorph.params import EvaluateParams, PreprocessParams
from galmorph.storage import image_path, read_image, write_bytes, write_table

logger = logging.getLogger(__name__)

#: Galaxies in the picture of what masking does.
_SHOWN = 3


def write_slices(
    folder: Path, scored: pd.DataFrame, manifest: pd.DataFrame, metrics: dict[str, Any], params: EvaluateParams
) -> dict[str, Any]:
    """Write `slices.csv` and its figure, warn of slices that are answered worse, and return what metrics.json holds.

    Parameters
    ----------
    folder
        Where to write.
    scored
        Predictions of the scored split.
    manifest
        What validation measured of every galaxy.
    metrics
        What `metrics.evaluation_record` gave.
    """
    table = slice_table(scored, manifest, params)
    write_table(folder / "slices.csv", table.round(6))
    for sentence in slice_warnings(table):
        logger.warning("%s, slice %s", metrics["experiment"], sentence)
    accuracy = metrics[metrics["scored_split"]]["accuracy"]["value"]
    title = f"{metrics['experiment']}, {metrics['scored_split']}, n = {len(scored)}"
    write_bytes(folder / "figures" / "slices.png", png(slice_figure(table, accuracy, params.confidence, title)))
    return slice_record(table)


def write_shortcuts(
    folder: Path,
    model: keras.Model,
    preprocess: PreprocessParams,
    images: Path,
    scored: pd.DataFrame,
    metrics: dict[str, Any],
    params: EvaluateParams,
) -> dict[str, Any] | None:
    """Answer cutouts without their galaxy and galaxies without their surroundings, and warn of a shortcut.

    Parameters
    ----------
    folder
        `figures/shortcuts.png` goes there, where a galaxy was found at all.
    model, preprocess
        The model, and what of a cutout it sees.
    images
        The folder of the variant's images.
    scored, metrics
        As for `write_slices`.

    Returns
    -------
    dict or None
        What metrics.json holds; None where no cutout has a galaxy at its centre.
    """
    asked = stratified(scored, params.shortcuts.galaxies, params.seed)
    cataids = asked["CATAID"].tolist()
    views = list(masked_views(images, cataids, preprocess, params.shortcuts.margin, params.seed))
    found = np.array([view is not None for view in views], bool)
    answers = asked.loc[found, ["CATAID", "label", "p_elliptical"]].rename(columns={"p_elliptical": "original"})
    if len(answers):
        both = np.concatenate([view for view in views if view is not None])  # (2 N, S, S, 3)
        _, p = predict_logits(model, both, params.batch_size)
        answers[["without_galaxy", "without_surroundings"]] = p.reshape(-1, 2)
        _draw(folder, _shown(answers), images, preprocess, metrics["experiment"], params)
    record = shortcut_record(answers, int((~found).sum()), params)
    if sentence := shortcut_warning(record):
        logger.warning("%s: %s", metrics["experiment"], sentence)
    return record


def _shown(answers: pd.DataFrame) -> list[tuple[str, str]]:
    """Id and label of a few galaxies, the classes in turn."""
    turn = answers.groupby("label").cumcount().to_numpy()
    rows = answers.iloc[np.argsort(turn, kind="stable")[:_SHOWN]]
    return list(zip(rows["CATAID"], rows["label"], strict=True))


def _draw(
    folder: Path,
    galaxies: list[tuple[str, str]],
    images: Path,
    preprocess: PreprocessParams,
    title: str,
    params: EvaluateParams,
) -> None:
    shown = []
    for cataid, label in galaxies:
        image = read_image(image_path(images, cataid))
        changed = masked(image, params.shortcuts.margin, params.seed, cataid)
        if changed is not None:
            shown.append((f"{cataid}, {label}", image, changed))
    write_bytes(folder / "figures" / "shortcuts.png", png(shortcut_figure(shown, preprocess, title)))
