"""Synthetic cutouts, models that look where they are told, and explainers that do not look at the model."""

import keras
import numpy as np

from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.models.layers import with_probability
from galmorph.params import PreprocessParams

#: What the models see is the middle half of a frame, pixel by pixel: a galaxy in its centre, a neighbour in its corner.
SIDE, SEEN = 64, 32
PREPROCESS = PreprocessParams(crop=0.5, image_size=SEEN)
CENTRE, CORNER = (10, 10, 12), (0, 0, 12)  # top, left and side of squares in what is seen
NEIGHBOUR = (22, 22)  # in the frame


def blob(row, column, width, peak):
    y, x = np.mgrid[:SIDE, :SIDE]
    return peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))


def frame(random, galaxy=True, neighbour=True, blank=""):
    light = random.normal(12, 1, (SIDE, SIDE, 3))
    if galaxy:
        light += (random.uniform(120, 200) * blob(31.5, 31.5, random.uniform(2, 3), 1))[..., None]
    if neighbour:
        light += (random.uniform(120, 200) * blob(*NEIGHBOUR, 1.5, 1))[..., None]
    for channel in blank:
        light[..., "rgb".index(channel)] = 0
    return np.clip(light, 0, 255).astype(np.uint8)


def galaxies_of(frames, target="Elliptical", blank=None):
    seen = np.stack([one[16:48, 16:48] for one in frames])
    names = [f"G{at}" for at in range(len(frames))]
    return Galaxies(names, seen, frames, [target] * len(frames), blank or [""] * len(frames))


def reads(box, channel=None, scale=8.0, offset=2.0):
    """A model whose logit is the mean light in a square, of one channel or of all."""
    top, left, side = box
    image = keras.Input((SEEN, SEEN, 3), name="image")
    light = keras.layers.Conv2D(1, 1, use_bias=False, name="light")(image)
    cut = keras.layers.Cropping2D(((top, SEEN - top - side), (left, SEEN - left - side)), name="cut")(light)
    back = keras.layers.ZeroPadding2D(((top, SEEN - top - side), (left, SEEN - left - side)), name="back")(cut)
    seen = keras.layers.Conv2D(1, 1, use_bias=False, name="seen")(back)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(seen)
    made = with_probability(keras.Model(image, keras.layers.Dense(1, name="logit")(pooled)), 1.0)
    weights = np.zeros(3, np.float32)
    weights[slice(None) if channel is None else channel] = 1 / 255 if channel is not None else 1 / 765
    made.get_layer("light").set_weights([weights.reshape(1, 1, 3, 1)])
    made.get_layer("seen").set_weights([np.ones((1, 1, 1, 1), np.float32)])
    share = side**2 / SEEN**2
    made.get_layer("logit").set_weights([np.array([[scale / share]], np.float32), np.array([-offset], np.float32)])
    return made


def reads_emptiness_of_blue():
    """A model that says Elliptical where blue is blank, and looks at nothing else."""
    image = keras.Input((SEEN, SEEN, 3), name="image")
    empty = keras.layers.Conv2D(1, 1, activation="relu", name="empty")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(empty)
    made = with_probability(keras.Model(image, keras.layers.Dense(1, name="logit")(pooled)), 1.0)
    made.get_layer("empty").set_weights(
        [np.array([0, 0, -1], np.float32).reshape(1, 1, 3, 1), np.ones(1, np.float32)]  # 1 for no blue, 0 for some
    )
    made.get_layer("logit").set_weights([np.array([[6.0]], np.float32), np.array([-3.0], np.float32)])
    return made


class Brightness(Explainer):
    """Light above the darkest pixel, whatever the model."""

    name, title, meaning, classless = "grad_cam", "Brightness", "light", True

    def _attribute(self, images, signs):
        grey = images.mean(-1)
        return Attributions((grey - grey.min((1, 2), keepdims=True)).astype(np.float32))


class Edges(Explainer):
    """An edge detector dressed as an explainer, that even asks the model for a sign."""

    name, title, meaning, signed = "smooth_grad", "Edges", "edges", True

    def _attribute(self, images, signs):
        logit = keras.Model(self.model.input, self.model.get_layer("logit").output)(images).numpy()[:, 0]
        grey = images.mean(-1)
        edges = np.hypot(np.gradient(grey, axis=1), np.gradient(grey, axis=2))
        return Attributions((np.sign(logit)[:, None, None] * edges).astype(np.float32))


def shuffled(maps, seed=0):
    """The same values at random places."""
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(one.ravel()).reshape(one.shape) for one in maps])
