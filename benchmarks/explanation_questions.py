"""Numbers behind docs/explanations.md: what changes a map that should not, and what a reader takes it for.

    python benchmarks/explanation_questions.py --model models/NAME/model.keras --cutouts data/raw/images
    python benchmarks/explanation_questions.py --model FILE --cutouts FOLDER --galaxies 8 --only baseline lime

Galaxies spread over a folder of cutouts, as the model's variant has them, are explained for the class that the model
answers. Printed in Markdown, with standard errors over galaxies:

- baseline: Integrated Gradients from each baseline: what the model answers to the baseline itself, how like the maps
  are to those from the sky (Spearman's rank correlation), and the share on the galaxy.
- lime: two seeds at several numbers of samples: how like the maps are, and how well the linear model fits.
- layer: Grad-CAM at several layers: positions, and how like its maps are to those of occlusion, which asks no gradient.
- hiding: occlusion with each filling: on how many galaxies hiding parts lowers the answer's logit rather than raises
  it, by class. A filling that one class looks like, or squares whose edges do, speak for that class wherever they lie.
- saturation: what is left of a gradient when the probability is explained and not the logit.
- display: what becomes of a picture that is drawn after Keras's `preprocess_input` of ResNet50.

Nothing passes or fails.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

PARAMS = Path(__file__).parents[1] / "params.yaml"
#: Numbers of samples that LIME is tried with.
SAMPLES = (50, 200, 1000)
#: What carries nothing; see `galmorph.explain.baselines`.
FILLINGS = ("sky", "black", "blurred")


def mean(values: np.ndarray) -> str:
    """Give the mean over galaxies that have a value, with its standard error."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return "unknown"
    return f"{known.mean():.2f} ± {known.std(ddof=1) / len(known) ** 0.5:.2f}"


def table(title: str, headings: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    """Print a table in Markdown."""
    print(f"\n**{title}**\n\n| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for cells in rows:
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


class Questions:
    """A model, galaxies and the answers to them.

    Parameters
    ----------
    model
        A galmorph model's file.
    folder
        Of cutouts of the model's variant.
    count
        How many of them.
    """

    def __init__(self, model: Path, folder: Path, count: int) -> None:
        from galmorph.data.dataset import classes_of, prepare
        from galmorph.models.predict import predict_logits
        from galmorph.models.saved import load_model
        from galmorph.params import check, read_values
        from galmorph.storage import read_image

        self.params = check(read_values(PARAMS), str(PARAMS)).explain
        self.model, self.facts = load_model(model)
        paths = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".jpg", ".jpeg"})
        if len(paths) < count:
            raise SystemExit(f"{folder} must hold {count} images. Received: {len(paths)}")
        self.frames = [read_image(paths[at]) for at in np.linspace(0, len(paths) - 1, count, dtype=int)]
        self.images = np.stack([prepare(frame, self.facts.preprocess) for frame in self.frames])
        self.logits, self.p = predict_logits(self.model, self.images, self.params.batch_size)
        self.target = classes_of(self.p).tolist()

    def attributions(self, method: str, **changes: Any) -> Any:
        """Explain the galaxies by a method, with values changed in the section `explain`."""
        from galmorph.explain.methods import METHODS
        from galmorph.params import ExplainParams, merged

        params = ExplainParams.model_validate(merged(self.params.model_dump(), changes))
        return METHODS[method](self.model, params).attribute(self.images, self.target)

    def baseline(self) -> None:
        """Print what the baseline changes."""
        from galmorph.explain.baselines import baselines
        from galmorph.explain.faithfulness.maps import rank_correlations
        from galmorph.explain.faithfulness.on_galaxy import REGIONS, energies
        from galmorph.models.predict import predict_logits

        found = {
            kind: self.attributions("integrated_gradients", integrated_gradients={"baseline": kind})
            for kind in FILLINGS
        }
        energy = energies(self.frames, {kind: made.maps for kind, made in found.items()}, self.facts.preprocess)
        rows = []
        for kind, made in found.items():
            _, p = predict_logits(self.model, baselines(self.images, kind), self.params.batch_size)
            like = mean(rank_correlations(made.maps, found["sky"].maps)) if kind != "sky" else "1"
            share = mean(energy.shares[kind][:, REGIONS.index("galaxy")])
            rows.append((kind, f"{p.mean():.2f} ({p.min():.2f} to {p.max():.2f})", like, share))
        table(
            "Integrated Gradients by baseline",
            (
                "baseline",
                "`p_elliptical` of the baseline itself",
                "rank correlation with sky's maps",
                "share on the galaxy",
            ),
            iter(rows),
        )

    def lime(self) -> None:
        """Print how much chance is in LIME."""
        from galmorph.explain.faithfulness.maps import rank_correlations

        def maps(samples: int, seed: int) -> Any:
            return self.attributions("lime", lime={"samples": samples}, seed=seed)

        def rows() -> Iterator[tuple[Any, ...]]:
            for samples in SAMPLES:
                one, other = maps(samples, 1), maps(samples, 2)
                fit = f"{np.nanmedian(one.facts['r2']):.2f}"
                yield samples, mean(rank_correlations(one.maps, other.maps)), fit

        table("LIME by samples", ("samples", "rank correlation of two seeds", "median R²"), rows())
        again = np.array_equal(*(maps(SAMPLES[0], 1).maps for _ in range(2)))
        print(f"\nTwice with the same seed: {'equal' if again else 'not equal'}, to the bit.")

    def layer(self) -> None:
        """Print what Grad-CAM's layer changes."""
        from galmorph.explain.faithfulness.maps import rank_correlations
        from galmorph.explain.graph import convolutions, feature_layer

        names = convolutions(self.model)
        if not names:
            print("\nNo convolution, so no Grad-CAM.")
            return
        occlusion = self.attributions("occlusion").maps

        def rows() -> Iterator[tuple[Any, ...]]:
            default = feature_layer(self.model, None)
            for name in dict.fromkeys((default, names[-1], names[len(names) // 2])):
                height, width = self.model.get_layer(name).output.shape[1:3]
                maps = self.attributions("grad_cam", grad_cam={"layer": name}).maps
                empty = int((maps.max((1, 2)) == 0).sum())
                label = f"`{name}`" + (" (the default)" if name == default else "")
                yield label, f"{height} by {width}", mean(rank_correlations(maps, occlusion)), empty

        table("Grad-CAM by layer", ("layer", "positions", "rank correlation with occlusion", "empty maps"), rows())

    def hiding(self) -> None:
        """Print for which class it speaks that something is hidden at all."""
        of_class = np.array(self.target)

        def rows() -> Iterator[tuple[Any, ...]]:
            for filling in FILLINGS:
                supports = self.attributions("occlusion", occlusion={"hidden": filling}).maps.mean((1, 2)) > 0
                counts = [supports[of_class == name] for name in ("Elliptical", "Other")]
                yield filling, *(f"{found.sum()} of {len(found)}" for found in counts)

        table("Occlusion: hiding lowers the answer's logit", ("hidden by", "Elliptical", "Other"), rows())

    def saturation(self) -> None:
        """Print what the sigmoid leaves of a gradient."""
        temperature = self.facts.temperature

        def rows() -> Iterator[tuple[Any, ...]]:
            for words, at in (("least", 0), ("median", len(self.logits) // 2), ("most", -1)):
                logit = np.sort(np.abs(self.logits))[at] / temperature
                p = 1 / (1 + np.exp(-logit))
                yield words, f"{logit:.1f}", f"{p:.4f}", f"{p * (1 - p):.1e}"

        headings = ("confident", "calibrated \\|logit\\|", "probability of the answer", "gradient left, of the logit's")
        table("Saturation", headings, rows())

    def display(self) -> None:
        """Print what is left of a picture that was preprocessed for a backbone."""
        from keras.applications.resnet50 import preprocess_input

        cutouts = self.images.astype(np.float32)
        fed = preprocess_input(cutouts.copy())  # blue, green, red, less ImageNet's means
        wrapped = fed.astype(np.int64).astype(np.uint8)
        rows = [
            ("median value of the cutouts, of 255", f"{np.median(cutouts):.0f}"),
            ("values below 0 after it: black where a viewer clips", f"{100 * (fed < 0).mean():.0f} %"),
            ("median value after it where a viewer casts to uint8, which wraps around", f"{np.median(wrapped):.0f}"),
        ]
        table("An image after ResNet50's preprocess_input", ("", ""), iter(rows))


def main() -> None:
    """Answer the questions that were asked."""
    questions = ("baseline", "lime", "layer", "hiding", "saturation", "display")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model.keras of galmorph")
    parser.add_argument("--cutouts", type=Path, required=True, help="a folder of cutouts of the model's variant")
    parser.add_argument("--galaxies", type=int, default=32, help="how many of the folder (default 32)")
    parser.add_argument("--only", nargs="+", choices=questions, default=questions, help="some of the questions")
    options = parser.parse_args()
    asked = Questions(options.model, options.cutouts, options.galaxies)
    print(f"{asked.facts.experiment}, {options.galaxies} galaxies of {options.cutouts}")
    for name in options.only:
        answer: Callable[[], None] = getattr(asked, name)
        answer()


if __name__ == "__main__":
    main()
