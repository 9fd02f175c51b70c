"""Grad-CAM and Integrated Gradients beside xplique's: on the same weights, the pixels should be ranked alike.

    python benchmarks/crosscheck_xplique.py --xplique /tmp/xplique-env/bin/python \
        --on models/resnet50_finetune_raw/model.keras data/raw/images \
        --on models/regularised_cnn_bilateral/model.keras data/variants/bilateral

For each model, galaxies of its folder are explained for the class that the model answers, by galmorph and by xplique
at the same settings: Grad-CAM at the same layer; Integrated Gradients from black, the same points, the trapezoidal rule
on both sides. Spearman's rank correlation of each image's two maps is printed as a table in Markdown, with the largest
difference of the maps, each scaled by its own largest absolute value. A Grad-CAM map that is all zero has no ranks; how
many there are is printed, ours and xplique's. The exit status is 1 where a correlation at the same settings is below
0.99, or not the same maps are zero.

What differs on purpose: xplique enlarges Grad-CAM bicubically (which overshoots, also below zero), galmorph bilinearly.
The same settings are xplique's map enlarged bilinearly; as xplique gives it is printed beside. xplique averages
Integrated Gradients over the channels, galmorph adds them up: a factor of 3, which ranks do not see.

xplique_worker.py says how to make an environment for xplique.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from beside_xplique import Xplique
from scipy.stats import spearmanr

PARAMS = Path(__file__).parents[1] / "params.yaml"
#: What the correlation of each image must reach.
REQUIRED = 0.99
HEADINGS = ("model", "method", "galaxies", "Spearman: lowest", "median", "largest difference", "maps that are zero")


def galaxies(folder: Path, count: int, preprocess) -> np.ndarray:
    """Return cutouts spread over the folder in order of their names, as the model takes them."""
    from galmorph.data.dataset import prepare
    from galmorph.storage import read_image

    paths = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".jpg", ".jpeg"})
    if len(paths) < count:
        raise SystemExit(f"{folder} must hold {count} images. Received: {len(paths)}")
    return np.stack(
        [prepare(read_image(paths[at]), preprocess) for at in np.linspace(0, len(paths) - 1, count, dtype=int)]
    )


def row(model: str, method: str, ours: np.ndarray, theirs: np.ndarray) -> tuple[str, float]:
    """Return a line of the table, and the lowest correlation."""
    empty = ~ours.any((1, 2)), ~theirs.any((1, 2))
    shown = np.flatnonzero(~empty[0] & ~empty[1])
    ranks = [spearmanr(ours[at].ravel(), theirs[at].ravel()).statistic for at in shown]
    scaled = [maps / np.abs(maps).max((1, 2), keepdims=True) for maps in (ours[shown], theirs[shown])]
    cells = (
        f"`{model}`", method, len(ours), f"{min(ranks):.4f}", f"{np.median(ranks):.4f}",
        f"{np.abs(scaled[0] - scaled[1]).max():.1e}", f"{empty[0].sum()} and {empty[1].sum()}",
    )  # fmt: skip
    lowest = min(ranks) if (empty[0] == empty[1]).all() else -1.0
    return f"| {' | '.join(map(str, cells))} |", lowest


def main() -> int:
    """Explain by both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--on", type=Path, nargs=2, action="append", required=True, metavar=("MODEL", "FOLDER"),
        help="a model.keras of galmorph, and a folder of cutouts; as often as wanted",
    )  # fmt: skip
    parser.add_argument("--xplique", type=Path, required=True, help="Python of the environment that has xplique")
    parser.add_argument("--galaxies", type=int, default=32, help="how many of each folder (default 32)")
    parser.add_argument("--steps", type=int, default=64, help="points of Integrated Gradients' path (default 64)")
    options = parser.parse_args()

    from galmorph.explain.grad_cam import GradCam
    from galmorph.explain.integrated_gradients import IntegratedGradients
    from galmorph.models.predict import predict_logits
    from galmorph.models.saved import load_model
    from galmorph.params import check, read_values

    params = check(read_values(PARAMS), str(PARAMS)).explain
    fixed = {"baseline": "black", "steps": options.steps, "max_steps": options.steps}
    lowest, lines, version = [], [], ""
    for path, folder in options.on:
        model, facts = load_model(path)
        images = galaxies(folder, options.galaxies, facts.preprocess)
        signs = np.where(predict_logits(model, images, params.batch_size)[0] > 0, 1, -1).astype(np.float32)
        target = ["Elliptical" if sign > 0 else "Other" for sign in signs]
        grad_cam = GradCam(model, params.grad_cam.layer, params.batch_size)
        paths = IntegratedGradients(model, params.integrated_gradients.model_copy(update=fixed), params.batch_size)
        settings = {"batch_size": params.batch_size, "steps": options.steps, "layer": grad_cam.layer}
        with (
            tempfile.TemporaryDirectory(prefix="galmorph-xplique-") as work,
            Xplique(options.xplique, Path(work), model, images, signs) as xplique,
        ):
            version = xplique.version
            names = ("grad_cam_bilinear", "grad_cam", "integrated_gradients")
            theirs = [xplique.maps(name, **settings) for name in names]
        cam = grad_cam.explain(images, target)
        titles = (
            f"Grad-CAM at `{grad_cam.layer}`",
            "the same, xplique's enlarged bicubically",
            f"Integrated Gradients, {options.steps} points",
        )
        rows = [
            row(facts.experiment, *each)
            for each in zip(titles, (cam, cam, paths.explain(images, target)), theirs, strict=True)
        ]
        lines += [line for line, _ in rows]
        lowest += [rows[0][1], rows[2][1]]
    print(f"Beside xplique {version}:\n\n| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    print("\n".join(lines))
    return int(min(lowest) < REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
