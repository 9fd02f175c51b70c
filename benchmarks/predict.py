"""Images from disk to a table: `galmorph predict` beside `keras.Model.predict` on a plain tf.data loader.

The same ResNet50 of random weights, the same PNG files, measured in turns in one process; speed does not depend on the
weights. Decoding alone and inference alone are measured too: the whole cannot be faster than the slower of them, and
where both run on the same cores, no faster than one after the other. The seconds that loading the model takes do not
count, on either side. Beside images a second, the CPU time of an image is told: other programs on the machine change it
less. Prints a Markdown table. Nothing passes or fails.

    python benchmarks/predict.py                          1,500 images of 300 pixels, ResNet50 at 96 pixels
    python benchmarks/predict.py --images 300 --rounds 1  a look
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from serving import PARAMS, cutouts, new_model

from galmorph.cpu import FACTS, cpu_has_bfloat16
from galmorph.data.wanted import Galaxy
from galmorph.edge.members import open_source
from galmorph.edge.predicting import Asked, predict
from galmorph.edge.predicting_images import Reader
from galmorph.params import PredictParams, predict_values, read_values
from galmorph.serving.runtime import Runtime

#: Different images; the others are links to them, and read and decoded all the same.
DIFFERENT = 64


def write_images(folder: Path, count: int) -> None:
    """Write so many PNG files."""
    folder.mkdir()
    for number, content in enumerate(cutouts(DIFFERENT)):
        (folder / f"{number:06d}.png").write_bytes(content)
    for number in range(DIFFERENT, count):
        os.link(folder / f"{number % DIFFERENT:06d}.png", folder / f"{number:06d}.png")


def export_model(size: int, folder: Path) -> tuple[Path, "object"]:
    """Export a ResNet50, and return the folder and the Keras model."""
    from galmorph.models.saved import load_model
    from galmorph.serving.export import Origin, export

    new_model(size, folder / "model.keras")
    model, facts = load_model(folder / "model.keras")
    export(model, facts, folder / "export", Origin("galmorph", None, "none", "2026-01-01T00:00:00+00:00"), None, {})
    return folder / "export", model


def with_keras(model: "object", folder: Path, size: int, crop: float, batch: int) -> None:
    """Predict as a short script would: decode, crop and resize in tf.data, `predict`, a table."""
    import pandas as pd
    import tensorflow as tf

    def prepared(path: "tf.Tensor") -> "tf.Tensor":
        image = tf.io.decode_png(tf.io.read_file(path), channels=3)
        side = round(300 * crop)
        image = tf.image.resize_with_crop_or_pad(image, side, side)
        return tf.image.resize(tf.cast(image, tf.float32), (size, size), method="area")

    files = sorted(folder.iterdir())
    loader = tf.data.Dataset.from_tensor_slices([str(file) for file in files])
    loader = loader.map(prepared, num_parallel_calls=tf.data.AUTOTUNE).batch(batch).prefetch(2)
    p = model.predict(loader, verbose=0)[:, 0]
    pd.DataFrame({"CATAID": [file.stem for file in files], "p_elliptical": p}).to_parquet(
        folder.parent / "keras.parquet"
    )


def timed(work: Callable[[], object]) -> np.ndarray:
    """Seconds that some work takes, by the clock and of all cores."""
    began = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - began


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--size", type=int, default=96, help="pixels a side that the model sees (96)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    values = predict_values(read_values(PARAMS), str(PARAMS))
    precisions = ["f32", *(["bf16"] if cpu_has_bfloat16(FACTS) else [])]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        images = folder / "images"
        write_images(images, options.images)
        exported, model = export_model(options.size, folder)
        source = open_source(images)
        galaxies = [Galaxy(name, name, place, "") for name, place in source.members.items()]
        works: dict[str, Callable[[], object]] = {}
        loading: dict[str, Callable[[], object]] = {}
        for precision in precisions:
            params = PredictParams.model_validate({**values, "precision": precision})
            runtime = Runtime(exported, precision, None)
            reader = Reader(source, runtime, False, params)
            side = (params.predict.batch, options.size, options.size, 3)
            batch = np.random.default_rng(1).integers(0, 256, side, np.uint8)
            for maps in (False, True):
                asked = Asked(str(exported), images, folder / f"{precision}.parquet", heat_maps=maps)
                name = f"galmorph predict, {precision}{', heat maps' if maps else ''}"
                works[name] = lambda asked=asked, params=params: predict(asked, params)
                loading[name] = lambda precision=precision: Runtime(exported, precision, None)
            works[f"inference alone, {precision}"] = lambda runtime=runtime, batch=batch: [
                runtime.answer(batch[: min(len(batch), options.images - start)], maps=False)
                for start in range(0, options.images, len(batch))
            ]
        crop = runtime.facts.preprocess.crop
        works["decoding alone"] = lambda: sum(1 for _ in reader.images(galaxies))
        works["keras.Model.predict, tf.data"] = lambda: with_keras(model, images, options.size, crop, 32)
        seconds: dict[str, list[np.ndarray]] = {name: [] for name in works}
        for turn in range(options.rounds + 1):
            for name, work in works.items():
                spent = -timed(loading[name]) if name in loading else np.zeros(2)
                spent += timed(work)
                if turn:  # the first warms up
                    seconds[name].append(spent)
        shutil.rmtree(images)
    report({name: np.median(each, axis=0) for name, each in seconds.items()}, precisions, options)


def report(seconds: dict[str, np.ndarray], precisions: list[str], options: argparse.Namespace) -> None:
    """Print the medians, and what they mean."""
    rates = {name: options.images / clock for name, (clock, _) in seconds.items()}
    cpu = {name: spent / options.images * 1e3 for name, (_, spent) in seconds.items()}
    base = "keras.Model.predict, tf.data"
    print(f"\nResNet50 at {options.size} px, {options.images:,} PNG files of 300 px, {os.cpu_count()} cores, ", end="")
    print(f"load {os.getloadavg()[1]:.0f}\n")
    print("| | images/s | times Keras | CPU ms an image | Keras's times this |\n|---|---|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {rate / rates[base]:.2f} | {cpu[name]:.2f} | {cpu[base] / cpu[name]:.2f} |")
    print()
    decoding = rates["decoding alone"]
    for precision in precisions:
        name, alone = f"galmorph predict, {precision}", rates[f"inference alone, {precision}"]
        maps = f"{name}, heat maps"
        print(
            f"- {precision}: {rates[name] / min(decoding, alone):.2f} of the slower of decoding and inference alone; "
            f"{rates[name] * (1 / decoding + 1 / alone):.2f} of what one after the other gives; heat maps cost "
            f"{rates[name] / rates[maps] - 1:+.1%}, in CPU time {cpu[maps] / cpu[name] - 1:+.1%}"
        )


if __name__ == "__main__":
    main()
