"""LIME as galmorph runs it, beside the lime package's defaults: same model, images and number of samples, in this run.

The defaults are quickshift's super-pixels, each hidden by its mean colour, batches of 10, a Python loop that composes
the images, and `model.predict`. Both sides answer one image before the clock starts, so that tracing is on neither.
The ratio is printed, and what galmorph's time goes into. Nothing passes or fails.

    python benchmarks/lime_speed.py                                       ResNet50, random weights, 96 pixels
    python benchmarks/lime_speed.py --model models/resnet50_finetune_raw/model.keras --cutouts data/raw/images
"""

import argparse
import contextlib
import io
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

PARAMS = Path(__file__).parents[1] / "params.yaml"


def package_defaults(model: keras.Model, image: np.ndarray, samples: int) -> None:
    """Explain one `(S, S, 3)` uint8 image as the package does where nothing is said."""
    from lime.lime_image import LimeImageExplainer

    # `predict` writes a progress bar for each batch, which the clock should not pay for; nor for the package's own.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        LimeImageExplainer().explain_instance(
            image, lambda images: model.predict(images, verbose=0), num_samples=samples
        )


def measured(model: keras.Model, images: np.ndarray, samples: int, params) -> dict[str, float]:
    """Measure seconds an image.

    Parameters
    ----------
    model
        A galmorph model.
    images
        `(N, S, S, 3)` uint8 at the model's size.
    samples
        Of LIME.
    params
        The section `explain`.

    Returns
    -------
    dict
        `package` and `ours`, and of ours `superpixels` and `model`: cutting up, and answering alone.
    """
    from galmorph.explain.answers import LogitAnswerer
    from galmorph.explain.lime import Lime
    from galmorph.explain.superpixels import superpixels

    lime = params.lime.model_copy(update={"samples": samples})
    ours = Lime(model, lime, params.seed, params.batch_size)
    answer = LogitAnswerer(model, params.batch_size)
    blocks = [
        np.repeat(images[:1], min(params.batch_size, samples - start), axis=0)
        for start in range(0, samples, params.batch_size)
    ]
    runs = {
        "package": lambda image: package_defaults(model, image, samples),
        "ours": lambda image: ours.explain(image[None], ["Elliptical"]),
        "superpixels": lambda image: superpixels(image, lime),
        "model": lambda image: answer.logits(blocks),  # noqa: ARG005
    }
    ours.explain(images[:1], ["Elliptical"])
    answer.logits([blocks[0], blocks[-1]])
    package_defaults(model, images[0], 2 * 10)  # two of its batches
    seconds = dict.fromkeys(runs, 0.0)
    for image in images:
        # Image by image, so that another load on the machine falls on all of them.
        for name, run in runs.items():
            started = time.monotonic()
            run(image)
            seconds[name] += (time.monotonic() - started) / len(images)
    return seconds


def prepared(folder: Path, count: int, preprocess) -> np.ndarray:
    """Return the first cutouts of a folder as the model sees them."""
    from galmorph.data.dataset import prepare
    from galmorph.storage import read_image

    return np.stack([prepare(read_image(path), preprocess) for path in sorted(folder.glob("*.png"))[:count]])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model.keras; none: ResNet50 of random weights")
    parser.add_argument("--cutouts", type=Path, help="a folder of PNG, with --model")
    parser.add_argument("--size", type=int, default=96, help="pixels, without --model")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    if (options.model is None) != (options.cutouts is None):
        parser.error("--model and --cutouts go together")

    from galmorph.params import PreprocessParams, check, read_values

    params = check(read_values(PARAMS), str(PARAMS))
    if options.model:
        from galmorph.models.saved import load_model

        model, facts = load_model(options.model)
        images = prepared(options.cutouts, options.images, facts.preprocess)
    else:
        from frozen_features import galaxies

        from galmorph.models.architectures import build
        from galmorph.models.layers import with_probability

        transfer = params.train.transfer.model_copy(update={"weights": "none"})
        train = params.train.model_copy(update={"transfer": transfer})
        keras.utils.set_random_seed(1)
        model = with_probability(build("resnet50", PreprocessParams(crop=1.0, image_size=options.size), train), 1.0)
        images = galaxies(options.images, options.size, 1)[0]

    seconds = measured(model, images, options.samples, params.explain)
    size = images.shape[1]
    print(f"{model.name}, {size} pixels, {len(images)} images, {options.samples} samples; seconds an image")
    print(f"the package's defaults   {seconds['package']:8.2f}")
    print(f"galmorph                 {seconds['ours']:8.2f}   {seconds['package'] / seconds['ours']:.1f} times as fast")
    print(f"  of it super-pixels     {seconds['superpixels']:8.2f}")
    print(f"  the model alone        {seconds['model']:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
