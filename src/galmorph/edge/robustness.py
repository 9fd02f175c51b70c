"""The files behind `galmorph robustness`."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd

from galmorph import tracking
from galmorph.data.dataset import classes_of
from galmorph.edge.altered import degraded_views
from galmorph.edge.denoising import denoiser_of
from galmorph.errors import ModelError
from galmorph.evaluation.degrade import Setting, settings
from galmorph.evaluation.robustness import robustness_curves, robustness_record
from galmorph.evaluation.robustness_figure import robustness_figure
from galmorph.evaluation.subset import stratified
from galmorph.explain.embedding import png
from galmorph.models.predict import predict_logits
from galmorph.models.saved import MODEL_FILE, ModelFacts, load_model
from galmorph.params import RobustnessParams
from galmorph.storage import digest_file, write_bytes, write_json, write_table

#: Prepared images held at a time.
_BYTES = 256 << 20
#: How far the mean answer to undegraded cutouts may lie from the one in the predictions: reduced precision and another
#: device move it by less, other images or another denoiser by more.
_SAME = 0.03


def measure_robustness(
    folder: Path,
    model_folder: Path,
    raw: Path,
    card: Path,
    predictions: pd.DataFrame,
    scored_split: str,
    params: RobustnessParams,
) -> None:
    """Degrade the cutouts of a split and score the model's answers, into `metrics.json`, `curves.csv` and `curves.png`.

    Parameters
    ----------
    folder
        Where to write.
    model_folder
        The experiment's model.
    raw
        The folder of the raw images: a denoised variant is made of them again, after they were degraded.
    card
        Of the model's variant; a denoised one's says by which denoiser.
    predictions
        Of every split.
    scored_split
        The one to take galaxies from.

    Raises
    ------
    ModelError
        When undegraded cutouts are not answered as in `predictions`.
    """
    model, facts = load_model(model_folder / MODEL_FILE)
    galaxies = stratified(predictions[predictions["split"] == scored_split], params.galaxies, params.seed)
    asked = list(settings(params))
    cataids = galaxies["CATAID"].tolist()
    denoiser = None if facts.variant == "raw" else denoiser_of(card)
    views = degraded_views(raw, cataids, asked, denoiser, facts.preprocess, params.seed)
    p = _answers(model, views, params.batch_size)
    _check_undegraded(p[:, 0], galaxies, model_folder / MODEL_FILE)
    label = galaxies["label"].to_numpy(str)
    right = classes_of(p) == label[:, None]
    curves = robustness_curves(asked, right[:, 1:], right[:, 0], params)
    record = {
        **_about(facts, model_folder / MODEL_FILE, scored_split),
        **robustness_record(curves, right[:, 0], label, params),
    }
    write_table(folder / "curves.csv", curves)
    title = f"{facts.experiment}, {scored_split}"
    write_bytes(folder / "curves.png", png(robustness_figure(curves, record, params.flat_zoom, title)))
    write_json(folder / "metrics.json", record)
    with tracking.run(facts.experiment, facts.run_id):
        mlflow.log_metrics(_logged(record, curves, asked))
        mlflow.log_artifacts(str(folder), "robustness")


def _answers(model: keras.Model, views: Iterator[np.ndarray], batch_size: int) -> np.ndarray:
    """Answer each galaxy in each setting, `(N, 1 + S)` float64; a few galaxies' images are held at a time."""
    answers = []
    for first in views:
        held = [first, *islice(views, max(0, _BYTES // first.nbytes - 1))]
        _, p = predict_logits(model, np.concatenate(held), batch_size)
        answers.append(p.reshape(len(held), -1))
    return np.concatenate(answers)


def _check_undegraded(p: np.ndarray, galaxies: pd.DataFrame, file: Path) -> None:
    apart = float(np.abs(p - galaxies["p_elliptical"].to_numpy(np.float64)).mean())
    if apart > _SAME:
        raise ModelError(
            f"{file}: answers undegraded cutouts otherwise than the predictions say, so images, denoiser, model and "
            f"predictions do not belong together. Run `dvc repro`. Received: p_elliptical {apart:.3f} apart "
            f"on average, over {len(p)} galaxies"
        )


def _about(facts: ModelFacts, file: Path, split: str) -> dict[str, Any]:
    return {
        "experiment": facts.experiment,
        "architecture": facts.architecture,
        "variant": facts.variant,
        "data_digest": facts.data_digest,
        "model_digest": digest_file(file),
        "scored_split": split,
    }


def _logged(record: dict[str, Any], curves: pd.DataFrame, asked: Sequence[Setting]) -> dict[str, float]:
    """Return what MLflow lists of it."""
    return {
        "robustness_undegraded": record["undegraded"]["accuracy"]["value"],
        "robustness_largest_zoom_loss": record["largest_zoom_loss"]["value"],
        **{
            f"robustness_{setting.kind}_{setting.level:g}": float(accuracy)
            for setting, accuracy in zip(asked, curves["accuracy"], strict=True)
        },
    }
