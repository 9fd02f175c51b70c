"""The files behind `galmorph explain`."""

from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd

from galmorph import tracking
from galmorph.data.dataset import prepare, to_frame
from galmorph.edge.training import MODEL_FILE
from galmorph.explain.attention_rollout import AttentionRollout
from galmorph.explain.grad_cam import GradCam
from galmorph.explain.graph import convolutions
from galmorph.explain.report import data_url, png, render
from galmorph.explain.sample import choose_sample
from galmorph.explain.sheet import KINDS, Explained, panel, sheet
from galmorph.models.saved import ModelFacts, load_model
from galmorph.parallel import progress
from galmorph.params import ExplainParams
from galmorph.storage import image_path, read_image, write_bytes, write_text

#: Which of the metrics the report names.
_SCORES = ("accuracy", "roc_auc", "ece")


def explain_experiment(
    folder: Path,
    model_folder: Path,
    images: Path,
    predictions: pd.DataFrame,
    scored: dict[str, Any],
    params: ExplainParams,
) -> None:
    """Explain a sample of a split's galaxies into `report.html`, `sheet.png` and `attributions/<method>.npz`.

    Parameters
    ----------
    folder
        Where to write.
    model_folder, images
        The experiment's model, and the folder of its variant's images.
    predictions
        Of every split; `params.split` is taken, or validation where there is no test split.
    scored
        `metrics.json` of the experiment.
    """
    model, facts = load_model(model_folder / MODEL_FILE)
    split = params.split if (predictions["split"] == params.split).any() else "validation"
    sample = choose_sample(predictions[predictions["split"] == split], params.sample, params.seed)
    name, explainer = explainer_of(model, params)
    frames = [read_image(image_path(images, cataid)) for cataid in sample["CATAID"]]
    maps = explainer.explain(
        np.stack([prepare(frame, facts.preprocess) for frame in frames]), list(sample["predicted"])
    )
    write_attributions(folder / "attributions" / f"{name}.npz", sample, maps)
    galaxies = [
        Explained(
            **{name: row[name] for name in ("label", "predicted", "p_elliptical", "chosen_as")},
            cataid=row["CATAID"],
            image=frame,
            attribution=to_frame(attribution, frame.shape[0], frame.shape[1], facts.preprocess),
        )
        for row, frame, attribution in zip(sample.to_dict("records"), frames, maps, strict=True)
    ]
    write_bytes(
        folder / "sheet.png", png(sheet(galaxies, facts.preprocess, params.picture.colour_map, params.picture.alpha))
    )
    layer = getattr(explainer, "layer", "all attention layers")
    write_text(folder / "report.html", _report(galaxies, facts, name, layer, split, scored, params))
    with tracking.run(facts.experiment, facts.run_id):
        mlflow.log_artifacts(str(folder), "explanations")


def explainer_of(model: keras.Model, params: ExplainParams) -> tuple[str, GradCam | AttentionRollout]:
    """Return the name of a method that fits the model, and its explainer: Grad-CAM needs a convolution."""
    if convolutions(model):
        return "grad_cam", GradCam(model, params.grad_cam.layer, params.batch_size)
    return "attention_rollout", AttentionRollout(model, params.batch_size)


def write_attributions(path: Path, sample: pd.DataFrame, maps: np.ndarray) -> None:
    """Write attributions with the galaxies and the classes they belong to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        CATAID=sample["CATAID"].to_numpy(str),
        target=sample["predicted"].to_numpy(str),
        attribution=maps,
    )


def _report(
    galaxies: list[Explained],
    facts: ModelFacts,
    method: str,
    layer: str,
    split: str,
    scored: dict[str, Any],
    params: ExplainParams,
) -> str:
    scores = scored[scored["scored_split"]]
    rows = [
        {
            "cataid": galaxy.cataid,
            "label": galaxy.label,
            "predicted": galaxy.predicted,
            "p_elliptical": galaxy.p_elliptical,
            "right": galaxy.right,
            "empty": galaxy.empty,
            "kind": KINDS[galaxy.chosen_as],
            "picture": data_url(png(panel(galaxy, facts.preprocess, params.picture.colour_map, params.picture.alpha))),
        }
        for galaxy in progress(iter(galaxies), len(galaxies), "drawing explanations")
    ]
    about = {
        "experiment": facts.experiment,
        "architecture": facts.architecture,
        "variant": facts.variant,
        "data_digest": facts.data_digest,
        "image_size": facts.preprocess.image_size,
        "crop": facts.preprocess.crop,
        "method": method,
        "layer": layer,
        "split": split,
        "colour_map": params.picture.colour_map,
        "alpha": params.picture.alpha,
    }
    return render(about, {name: scores[name] for name in _SCORES if scores[name]["value"] is not None}, rows)
