"""Explanations beside the loops of a notebook and xplique; LIME is lime_speed.py's, memory explain_memory.py's.

Same model (ResNet50 with random weights: they change no speed), same images, in this one run: what is compared takes
turns, round after round, and the median of each round's ratio is printed with the median times. Nothing passes or
fails. What compiles, or is called for the first time, is called once before the clock starts.

    python benchmarks/explain.py                                     96 and 224 pixels
    python benchmarks/explain.py --sizes 96 --images 4 --rounds 1    minutes on a laptop
    python benchmarks/explain.py --xplique /tmp/xplique-env/bin/python    xplique too; xplique_worker.py says how
    python benchmarks/explain.py --only ig cam                       some of: ig, cam, closed

The notebook's loop is what tutorials show: for one image after the other, and one point of the path after the other,
`tf.GradientTape` around the Keras model, not compiled. It computes the same numbers; how far the two maps are apart is
printed. "One at a time, compiled" is our own code with a batch of one: what batching alone brings.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from beside_xplique import Xplique

from galmorph import params as p

PARAMS = Path(__file__).parents[1] / "params.yaml"
PARTS = ("ig", "cam", "closed")
Clock = Callable[[], float]


def galaxies(count: int, size: int) -> np.ndarray:
    """Return exponential discs with a cusp on a noisy sky, `(count, size, size, 3)` uint8."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    images = np.empty((count, size, size, 3), np.uint8)
    for image in images:
        radius = np.hypot(rows, columns / rng.uniform(0.3, 1)) / (size / rng.uniform(8, 20))
        light = np.stack([level * np.exp(-(radius**0.7)) for level in (200, 150, 110)], -1)
        image[:] = np.clip(15 + light + rng.normal(0, 7, image.shape), 0, 255)
    return images


def built(params: p.Params, size: int) -> keras.Model:
    """ResNet50 for images of a size, with random weights."""
    from galmorph.models.architectures import build
    from galmorph.models.layers import with_probability
    from galmorph.models.predict import predict_logits

    keras.utils.set_random_seed(1)
    transfer = params.train.transfer.model_copy(update={"weights": "none"})
    train = params.train.model_copy(update={"transfer": transfer})
    model = with_probability(build("resnet50", p.PreprocessParams(crop=1.0, image_size=size), train), 1.0)
    # Where the answer is Other nothing speaks for Elliptical, and Grad-CAM's maps would be empty: like any others.
    logit = model.get_layer("logit")
    logit.kernel.assign(logit.kernel * np.sign(predict_logits(model, galaxies(1, size), 1)[0][0]))
    return model


def explaining(params: p.Params, batch_size: int, steps: int) -> p.ExplainParams:
    """Take the parameters of params.yaml, with Integrated Gradients at a fixed number of points from black."""
    explain = params.explain
    fixed = {"baseline": "black", "steps": steps, "max_steps": steps}
    return explain.model_copy(
        update={
            "batch_size": batch_size,
            "integrated_gradients": explain.integrated_gradients.model_copy(update=fixed),
        }
    )


def notebook_gradients(model: keras.Model, images: np.ndarray, steps: int) -> np.ndarray:
    """Integrated Gradients as a notebook's loop, `(N, S, S)`: the trapezoidal rule from black, for Elliptical."""
    maps = []
    for image in images:
        total = np.zeros(image.shape, np.float32)
        for step in range(steps):
            point = tf.constant(image[None] * (step / (steps - 1)), tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(point)
                score = model(point, training=False)[:, 0]
            weight = 0.5 if step in (0, steps - 1) else 1.0
            total += weight / (steps - 1) * tape.gradient(score, point)[0].numpy()
        maps.append((image * total).sum(-1))
    return np.stack(maps)


def notebook_grad_cam(both: keras.Model, images: np.ndarray) -> np.ndarray:
    """Grad-CAM as a notebook's loop, `(N, S, S)`, for Elliptical; `both` gives features and logit."""
    maps = []
    for image in images:
        with tf.GradientTape() as tape:
            features, score = both(tf.constant(image[None], tf.float32), training=False)
        weights = tf.reduce_mean(tape.gradient(score, features), (1, 2), keepdims=True)
        found = tf.nn.relu(tf.reduce_sum(weights * features, -1, keepdims=True))
        maps.append(tf.image.resize(found, image.shape[:2])[0, ..., 0].numpy())
    return np.stack(maps)


class Timed:
    """Says how long a call of a function takes, and keeps what it returned.

    Parameters
    ----------
    function
        What is measured.
    first
        Called here, outside the clock, so that whatever compiles has compiled; None: the function itself.
    """

    def __init__(self, function: Callable[[], Any], first: Callable[[], Any] | None = None) -> None:
        self.function, self.last = function, (first or function)()

    def __call__(self) -> float:
        """Call it; the seconds that it took."""
        start = time.perf_counter()
        self.last = self.function()
        return time.perf_counter() - start


def compare(title: str, ours: Clock, others: Mapping[str, Clock], rounds: int) -> None:
    """Measure in turn, and print a line for each of the others."""
    taken = np.array([[ours(), *(other() for other in others.values())] for _ in range(rounds)])
    print(f"\n{title}: {np.median(taken[:, 0]):.3f} s")
    for (name, _), column in zip(others.items(), taken.T[1:], strict=True):
        ratios = column / taken[:, 0]
        spread = f" ({ratios.min():.2f} to {ratios.max():.2f})" if rounds > 1 else ""
        print(f"    {name:<44}{np.median(column):>9.3f} s {np.median(ratios):>7.2f}x{spread}", flush=True)


def apart(ours: np.ndarray, others: np.ndarray) -> str:
    """Say how far two sets of maps are apart, of the largest value."""
    return f"maps apart by {np.abs(ours - others).max() / np.abs(ours).max():.0e} of the largest value"


class Size:
    """What is measured at one image size."""

    def __init__(self, params: p.Params, size: int, options: argparse.Namespace) -> None:
        from galmorph.explain.methods import METHODS

        self.options, self.methods = options, METHODS
        self.model = built(params, size)
        self.params = explaining(params, options.batch, options.steps)
        self.single = self.params.model_copy(update={"batch_size": 1})
        self.many = galaxies(max(options.images, options.batch), size)
        self.few = self.many[: options.images]

    def explain(self, method: str, params: p.ExplainParams, images: np.ndarray) -> Callable[[], np.ndarray]:
        """Make a method once, and return what explains the images with it."""
        explainer = self.methods[method](self.model, params)
        return lambda: explainer.explain(images, ["Elliptical"] * len(images))

    def one_by_one(self, method: str, images: np.ndarray) -> Timed:
        """Our own code with batches of one; what it compiles it has compiled after the first image."""
        explainer = self.methods[method](self.model, self.single)
        return Timed(
            lambda: explainer.explain(images, ["Elliptical"] * len(images)),
            lambda: explainer.explain(images[:1], ["Elliptical"]),
        )

    def ig(self, xplique: Xplique | None) -> None:
        """Integrated Gradients, compiled and in batches, beside single steps."""
        steps, count = self.options.steps, len(self.few)
        logit = keras.Model(self.model.input, self.model.get_layer("logit").output)
        ours = Timed(self.explain("integrated_gradients", self.params, self.few))
        notebook = Timed(
            lambda: notebook_gradients(logit, self.few, steps), lambda: notebook_gradients(logit, self.few[:1], 2)
        )
        others: dict[str, Clock] = {
            "the notebook's loop of single steps": notebook,
            "one step at a time, compiled": self.one_by_one("integrated_gradients", self.few),
        }
        if xplique:
            settings = {"images": count, "batch_size": self.options.batch, "steps": steps, "layer": None}
            others[f"xplique {xplique.version}"] = lambda: xplique.seconds("integrated_gradients", **settings)
        title = f"Integrated Gradients, {steps} points, {count} images, batches of {self.options.batch}"
        compare(title, ours, others, self.options.rounds)
        print(f"    {apart(ours.last, notebook.last)}", flush=True)

    def cam(self, xplique: Xplique | None) -> None:
        """Grad-CAM in batches, beside one image at a time."""
        images = self.many[: self.options.batch]
        layer = self.methods["grad_cam"](self.model, self.params).layer
        both = keras.Model(self.model.input, [self.model.get_layer(name).output for name in (layer, "logit")])
        ours = Timed(self.explain("grad_cam", self.params, images))
        notebook = Timed(lambda: notebook_grad_cam(both, images), lambda: notebook_grad_cam(both, images[:2]))
        others: dict[str, Clock] = {
            "the notebook's loop, one by one": notebook,
            "one by one, compiled": self.one_by_one("grad_cam", images),
        }
        if xplique:
            settings = {"images": len(images), "batch_size": self.options.batch, "steps": None, "layer": layer}
            others[f"xplique {xplique.version}"] = lambda: xplique.seconds("grad_cam", **settings)
        compare(f"Grad-CAM at {layer}, a batch of {len(images)}", ours, others, self.options.rounds)
        print(f"    {apart(ours.last, notebook.last)}", flush=True)

    def closed(self, xplique: Xplique | None) -> None:  # noqa: ARG002 - xplique has none
        """Grad-CAM in closed form, in one forward pass, beside gradients and beside the answer alone."""
        from galmorph.explain.class_map import class_map
        from galmorph.explain.closed_form import grad_cam_outputs

        images = self.many[: self.options.batch].astype(np.float32)
        signs = np.ones(len(images), np.float32)
        compiled = tf.function(grad_cam_outputs(self.model, None), reduce_retracing=True)
        answer = tf.function(self.model, reduce_retracing=True)
        gradients = Timed(self.explain("grad_cam", self.params, images))

        def map_and_answer() -> np.ndarray:
            return class_map(compiled(images, training=False)[1].numpy(), signs, images.shape[1])

        others = {
            "Grad-CAM by gradients": gradients,
            "the answer alone, without a map": Timed(lambda: answer(images, training=False).numpy()),
        }
        title = f"Grad-CAM in closed form, with the answer, a batch of {len(images)}"
        closed = Timed(map_and_answer)
        compare(title, closed, others, self.options.rounds)
        print(f"    {apart(gradients.last, closed.last)}", flush=True)


def report_size(params: p.Params, size: int, options: argparse.Namespace) -> None:
    """Print everything that is asked for at one size."""
    print(f"\n{size} x {size} pixels")
    measured = Size(params, size, options)
    with contextlib.ExitStack() as stack:
        beside = None
        if options.xplique:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="galmorph-xplique-")))
            signs = np.ones(len(measured.many), np.float32)
            beside = stack.enter_context(
                Xplique(options.xplique, work, measured.model, measured.many.astype(np.float32), signs)
            )
        for part in options.only:
            getattr(measured, part)(beside)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 224], help="pixels (96 224)")
    parser.add_argument("--images", type=int, default=8, help="of Integrated Gradients (8)")
    parser.add_argument("--batch", type=int, default=32, help="points or images at a time; of Grad-CAM, all (32)")
    parser.add_argument("--steps", type=int, default=64, help="points of Integrated Gradients' path (64)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what is measured (everything)")
    parser.add_argument("--xplique", type=Path, help="Python of an environment that has xplique")
    options = parser.parse_args()

    params = p.check(p.read_values(PARAMS), str(PARAMS))
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()
    print(f"ResNet50, tensorflow {tf.__version__}, {threads} threads, {options.rounds} rounds")
    for size in options.sizes:
        report_size(params, size, options)


if __name__ == "__main__":
    main()
