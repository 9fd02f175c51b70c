"""Augmented batches beside Keras's ImageDataGenerator, Keras's Random* layers and TensorFlow's own warp.

Everything is measured in this one run, in turn, on the same images with the ranges of `train.augmentations.published`,
and printed as ratios; nothing passes or fails. Each pipeline is gone through once before the clock starts.

    python benchmarks/input_pipeline.py                     images/s of augmented float batches, and of decoding
    python benchmarks/input_pipeline.py --picture FILE.jpg  what each transform does to simulated galaxies
"""

import argparse
import importlib.metadata
import io
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from denoise import galaxies

from galmorph.data.augmentation import Transforms, affine_maps, augment, draw, generator, transformed
from galmorph.data.dataset import batches, prepare, training_batches
from galmorph.params import AugmentationParams, Params, PreprocessParams, check, read_values

PARAMS = Path(__file__).parents[1] / "params.yaml"
#: Begins an epoch: gives its batches.
Pipeline = Callable[[], Iterable[object]]


def ours(images: np.ndarray, params: AugmentationParams, batch_size: int) -> Pipeline:
    """Return the project's pipeline."""
    made = training_batches(images, np.zeros(len(images), np.float32), batch_size, 1, params, [0])
    return lambda: made


def image_data_generator(images: np.ndarray, params: AugmentationParams, batch_size: int) -> Pipeline:
    """Return the published study's pipeline: Keras's ImageDataGenerator."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    flow = ImageDataGenerator(
        rotation_range=params.rotation,
        width_shift_range=params.shift,
        height_shift_range=params.shift,
        shear_range=params.shear,
        zoom_range=params.zoom,
        horizontal_flip=params.horizontal_flip,
        fill_mode="nearest",
    ).flow(images, np.zeros(len(images)), batch_size=batch_size)
    return lambda: (flow[number] for number in range(len(flow)))


def random_layers(images: np.ndarray, params: AugmentationParams, batch_size: int) -> Pipeline:
    """Return Keras's layers, one on top of the other over batches, in a map of tf.data.

    RandomShear knows no negative shear; the layers interpolate once each.
    """
    import keras
    import tensorflow as tf

    shear = math.tan(math.radians(params.shear))
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(params.rotation / 360, fill_mode="nearest"),
        keras.layers.RandomTranslation(params.shift, params.shift, fill_mode="nearest"),
        keras.layers.RandomShear(shear, 0.0, fill_mode="nearest"),
        keras.layers.RandomZoom(params.zoom, params.zoom, fill_mode="nearest"),
    ]

    def stacked(image):
        image = tf.cast(image, tf.float32)
        for layer in layers:
            image = layer(image, training=True)
        return image

    made = (
        tf.data.Dataset.from_tensor_slices(images)
        .shuffle(len(images))
        .batch(batch_size)
        .map(stacked, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2)
    )
    return lambda: made


def tensorflow_warp(images: np.ndarray, params: AugmentationParams, batch_size: int) -> Pipeline:
    """Return the same fused affine map through TensorFlow's ImageProjectiveTransformV3."""
    import tensorflow as tf

    size = images.shape[1]

    def maps(count):
        found = affine_maps(draw(params, int(count), np.random.default_rng()), size, size)
        return np.pad(found.reshape(-1, 6), ((0, 0), (0, 2))).astype(np.float32)

    def warped(image):
        transforms = tf.numpy_function(maps, [tf.shape(image)[0]], tf.float32)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(image, tf.float32),
            transforms=tf.ensure_shape(transforms, (None, 8)),
            output_shape=[size, size],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )

    made = (
        tf.data.Dataset.from_tensor_slices(images)
        .shuffle(len(images))
        .batch(batch_size)
        .map(warped, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2)
    )
    return lambda: made


def best_seconds(pipelines: dict[str, Pipeline], rounds: int) -> dict[str, float]:
    """Time an epoch of each, in turn, and keep each one's best: what else the machine does counts for none."""
    times: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(rounds + 1):
        for name, pipeline in pipelines.items():
            start = time.perf_counter()
            for _ in pipeline():
                pass
            times[name].append(time.perf_counter() - start)
    return {name: min(found[1:]) for name, found in times.items()}  # the first carries imports and tracing


def report(title: str, count: int, seconds: dict[str, float]) -> None:
    """Print images/s, and how many times more the first of them does than each."""
    print(f"\n{title}")
    first = next(iter(seconds.values()))
    for name, taken in seconds.items():
        print(f"{name:<52}{count / taken:>10,.0f}/s{taken / first:>8.1f}x", flush=True)


def report_augmentation(images: np.ndarray, params: Params, batch_size: int, rounds: int) -> None:
    """Print the table of augmented batches."""
    published = params.train.augmentations["published"]
    with tempfile.TemporaryDirectory(prefix="galmorph-benchmark-") as folder:
        np.save(Path(folder, "images.npy"), images)
        on_disk = np.load(Path(folder, "images.npy"), mmap_mode="r")
        pipelines = {
            "galmorph, cache in memory": ours(images, published, batch_size),
            "galmorph, cache on disk": ours(on_disk, published, batch_size),
            "the same map, TensorFlow's ImageProjectiveTransform": tensorflow_warp(images, published, batch_size),
            "Keras's Random* layers, stacked, in tf.data": random_layers(images, published, batch_size),
            "Keras's ImageDataGenerator": image_data_generator(images, published, batch_size),
        }
        side = images.shape[1]
        seconds = best_seconds(pipelines, rounds)
    report(f"Augmented batches of {batch_size}, {len(images)} images of {side} x {side}", len(images), seconds)


def report_decoding(frames: np.ndarray, preprocess: PreprocessParams, batch_size: int, rounds: int) -> None:
    """Print what decoding in each epoch would cost, without augmentation."""
    import cv2
    import tensorflow as tf

    files = [cv2.imencode(".png", frame)[1] for frame in frames]
    cached = np.stack([prepare(frame, preprocess) for frame in frames])

    def decoded(number):
        return prepare(cv2.imdecode(files[int(number)], cv2.IMREAD_COLOR_RGB), preprocess).astype(np.float32)

    def each(number):
        return tf.numpy_function(decoded, [number], tf.float32, stateful=False)

    anew = (
        tf.data.Dataset.range(len(files)).map(each, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)
    )
    ready = batches(cached, np.zeros(len(cached), np.float32), batch_size)
    seconds = best_seconds({"the cache": lambda: ready, "PNG decoded and cropped in each epoch": lambda: anew}, rounds)
    size = preprocess.image_size
    report(f"Plain batches of {batch_size}, frames of {frames.shape[1]} to {size} x {size}", len(frames), seconds)


def write_picture(file: Path, params: Params) -> None:
    """Draw each transform by itself, what context is for, and rows as training draws them."""
    from PIL import Image

    from galmorph.data import montage
    from galmorph.data.render import cutout
    from galmorph.data.simulate import draw_galaxy

    simulate = params.acquire.simulate
    drawn = [draw_galaxy(index, simulate) for index in range(300)]
    spiral = next(found for found in drawn if found.arms and found.axis_ratio > 0.45 and 4 < found.r_e < 6)
    elliptical = next(found for found in drawn if found.type == "E" and 0.5 < found.axis_ratio < 0.7 and found.r_e > 4)
    preprocess = PreprocessParams(crop=0.5, image_size=150)
    frame, other = cutout(spiral, simulate)[0], cutout(elliptical, simulate)[0]
    tiles = [montage.Tile(transformed_alone(frame, preprocess, **asked), words) for words, asked in GEOMETRY.items()]
    tiles += [montage.Tile(transformed_alone(other, preprocess, **asked), words) for words, asked in OTHERS.items()]
    for name, row in params.train.augmentations.items():
        held = prepare(frame, preprocess, context=row.context, fill=row.fill)
        shown = augment(np.repeat(held[None], 8, 0), row, preprocess.image_size, generator(params.train.seed, 0))
        tiles += [montage.Tile(_picture(image), f"{name}, drawn") for image in shown]
    image = Image.fromarray(montage.as_array(montage.sheet(tiles, columns=8)))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=82, optimize=True)
    file.write_bytes(encoded.getvalue())
    print(f"{file}: {len(encoded.getvalue()) // 1024} KiB")


#: The rows of single transforms: caption, and what is asked for.
GEOMETRY = {
    "as the model sees it": {},
    "rotation 20°": {"rotation": 20.0},
    "a quarter turn": {"turns": 1},
    "horizontal flip": {"mirror": (-1, 1)},
    "shift 0.2, -0.1": {"shift": (0.2, -0.1)},
    "shear 20°": {"shear": 20.0},
    "zoom 0.8, 1.2": {"zoom": (0.8, 1.2)},
    "scale 1.6": {"scale": 1.6},
}
_TURNED = {"rotation": 45.0, "scale": 0.65}
OTHERS = {
    "as the model sees it": {},
    "45°, scale 0.65\nfill: nearest": _TURNED,
    "45°, scale 0.65\nfill: black": {**_TURNED, "fill": "black"},
    "45°, scale 0.65\ncontext 2.2": {**_TURNED, "context": 2.2},
    "brightness -0.3": {"brightness": math.exp(-0.3)},
    "brightness 0.3": {"brightness": math.exp(0.3)},
    "noise 8": {"noise": 8.0},
    "noise 16": {"noise": 16.0},
}


def transformed_alone(
    frame: np.ndarray, preprocess: PreprocessParams, context: float = 1, fill: str = "nearest", **asked: object
) -> np.ndarray:
    """Do what is asked for to one frame, and nothing else."""
    zero, one = np.zeros(1), np.ones(1)
    still = Transforms(
        rotation=zero, shift=np.zeros((1, 2)), shear=zero, zoom=np.ones((1, 2)), turns=np.zeros(1, int), scale=one,
        mirror=np.ones((1, 2)), brightness=one, noise=zero,
    )  # fmt: skip
    transforms = replace(still, **{name: np.asarray([value]) for name, value in asked.items()})
    held = prepare(frame, preprocess, context=context, fill=fill)
    return _picture(transformed(held[None], transforms, preprocess.image_size, fill, generator(0))[0])


def _picture(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def main() -> None:
    """Print the tables, or draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="images of each table (512)")
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 300], help="their sides in pixels (96 300)")
    parser.add_argument("--batch-size", type=int, default=32, help="images of a batch (32)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured (3)")
    parser.add_argument("--picture", type=Path, help="draw this JPEG instead")
    options = parser.parse_args()

    params = check(read_values(PARAMS), str(PARAMS))
    if options.picture:
        write_picture(options.picture, params)
        return
    names = ("tensorflow", "keras", "numpy", "opencv-python-headless")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"{versions}; {len(os.sched_getaffinity(0))} cores")
    for side in options.sides:
        images = np.stack(galaxies(options.images, side))
        report_augmentation(images, params, options.batch_size, options.rounds)
    frames = np.stack(galaxies(options.images, 300))
    report_decoding(frames, PreprocessParams(crop=0.6, image_size=96), options.batch_size, options.rounds)


if __name__ == "__main__":
    main()
