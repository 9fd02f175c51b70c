"""The frozen phase on features computed once, beside the frozen backbone run in every epoch.

Same model, weights, images, batches and recipe, in this one run; the ratio of epoch times is printed, and the
validation losses that both end with. Nothing passes or fails.

    python benchmarks/frozen_features.py                                  ResNet50, 96 pixels, 512 images
    python benchmarks/frozen_features.py --architecture vgg16 --size 64 --images 128 --epochs 2
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

PARAMS = Path(__file__).parents[1] / "params.yaml"


def galaxies(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return round and flattened spots on a noisy sky, `(count, size, size, 3)` uint8, and which is which."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    y = (np.arange(count) % 2).astype(np.float32)
    images = np.empty((count, size, size, 3), np.uint8)
    for number, (image, round_) in enumerate(zip(images, y, strict=True)):
        axis_ratio = rng.uniform(0.6, 1) if round_ else rng.uniform(0.3, 0.8)
        radius = np.hypot(rows, columns / axis_ratio) / (size / rng.uniform(8, 20))
        light = 15 + rng.uniform(60, 200) * np.exp(-(radius**0.7))
        images[number] = (light[..., None] + rng.normal(0, 7, image.shape)).clip(0, 255)
    return images, y


def every_epoch(model, data, params) -> tuple[list[float], list[float]]:
    """Run the frozen backbone in every epoch; seconds and validation loss of each."""
    from galmorph.models.objective import compile_for
    from galmorph.models.phases import set_trainable
    from galmorph.models.train import fit, image_lesson, side

    seconds, losses = [], []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
            self.started = time.monotonic()

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            seconds.append(time.monotonic() - self.started)
            losses.append(logs["val_cross_entropy"])

    set_trainable(model, params, "frozen")
    compile_for(model, params, params.frozen, scale_loss=False)
    epochs = range(params.frozen.epochs)
    fit(model, image_lesson(data, params, side(model), epochs), data.y, params, epochs, [Clock()])
    return seconds, losses


def cached(model, data, params, architecture: str) -> tuple[list[float], list[float], float]:
    """Train on features computed once; seconds and validation loss of each epoch, and seconds of the whole."""
    from galmorph.models.train import TrainingState, train
    from galmorph.params import ExperimentParams

    times = []
    experiment = ExperimentParams(architecture=architecture, variant="raw", phases=("frozen",), overrides={})
    started = time.monotonic()
    state = train(
        model,
        data,
        params,
        experiment,
        TrainingState(),
        lambda model, state, seconds: times.append(seconds),  # noqa: ARG005
        lambda: model,
    )
    return times, [row["val_loss"] for row in state.history], time.monotonic() - started


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=["resnet50", "vgg16"], default="resnet50")
    parser.add_argument("--weights", default="none", help="imagenet, or the path of a weights file; none: random ones")
    parser.add_argument("--size", type=int, default=96, help="pixels")
    parser.add_argument("--images", type=int, default=512, help="to train on; half as many to validate on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--views", type=int, default=0, help="augmented views; 0: no augmentation on either side")
    options = parser.parse_args()

    from galmorph.models.architectures import build
    from galmorph.models.train import TrainingData
    from galmorph.params import PreprocessParams, check, read_values

    values = read_values(PARAMS)
    values["train"] |= {"augmentation": "published" if options.views else None}
    values["train"]["frozen"] |= {"epochs": options.epochs, "augment_views": options.views}
    values["train"]["transfer"] |= {"weights": options.weights}
    params = check(values, str(PARAMS)).train
    preprocess = PreprocessParams(crop=1.0, image_size=options.size)
    data = TrainingData(
        *galaxies(options.images, options.size, 1), *galaxies(max(2, options.images // 2), options.size, 2)
    )

    def model() -> keras.Model:
        keras.utils.set_random_seed(params.seed)
        return build(options.architecture, preprocess, params)

    # A frozen phase over random weights is passed over; to measure its speed it is named otherwise after building.
    given = params.model_copy(update={"transfer": params.transfer.model_copy(update={"weights": "as built"})})
    slow, slow_losses = every_epoch(model(), data, given)
    fast, fast_losses, whole = cached(model(), data, given, options.architecture)
    # The first epoch of each also traces its graph.
    ratio = np.median(slow[1:] or slow) / np.median(fast[1:] or fast)
    print(
        f"{options.architecture}, {options.size} pixels, {options.images} images, weights {options.weights}, "
        f"{options.views or 'no'} augmented views"
    )
    print(f"an epoch with the frozen backbone  {np.median(slow[1:] or slow):9.3f} s")
    print(f"an epoch on cached features        {np.median(fast[1:] or fast):9.3f} s   {ratio:.0f} times as fast")
    print(f"the phase, features included       {whole:9.3f} s   beside {sum(slow):.3f} s")
    print(f"validation loss after {options.epochs} epochs     {fast_losses[-1]:9.4f}     beside {slow_losses[-1]:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
