"""Small models of every architecture with convolutions, whose random weights hide no term of a formula."""

import keras
import numpy as np

from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.params import Params, PreprocessParams

#: Architecture, side in pixels, values of `train.cnn`. At 20 and 100 pixels the CNN's last pooling drops a border, at
#: 48 VGG16's does; at 80 ResNet50 ends in 3×3 positions.
CASES = {
    "baseline": ("baseline_cnn", 24, {}),
    "baseline, border dropped": ("baseline_cnn", 100, {}),
    "baseline, averaged": ("baseline_cnn", 20, {"pooling": "average"}),
    "regularised": ("regularised_cnn", 24, {}),
    "regularised, border dropped": ("regularised_cnn", 20, {}),
    "regularised, averaged": ("regularised_cnn", 20, {"pooling": "average"}),
    "regularised, two convolutions": ("regularised_cnn", 20, {"convolutions": 2}),
    "vgg16": ("vgg16", 32, {}),
    "vgg16, border dropped": ("vgg16", 48, {}),
    "resnet50": ("resnet50", 80, {}),
}


def shaken(model: keras.Model) -> keras.Model:
    """Give a model random biases, and batch normalisation of any factor and shift, negative ones too."""
    random = np.random.default_rng(5)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = weights
            signs = random.choice([-1.0, 1.0], gamma.shape, p=[0.2, 0.8])
            layer.set_weights(
                [
                    signs * random.uniform(0.5, 1.5, gamma.shape),
                    random.normal(0, 0.3, beta.shape),
                    random.normal(0, 0.3, mean.shape),
                    random.uniform(0.5, 3.0, variance.shape),
                ]
            )
        elif len(weights) == 2:
            layer.set_weights([weights[0], random.normal(0, 0.1, weights[1].shape)])
    return model


def made(params: Params, case: str) -> keras.Model:
    architecture, size, values = CASES[case]
    keras.utils.set_random_seed(3)
    cnn = params.train.cnn.model_copy(update={"filters": (4, 5, 6), "dense_units": 16, **values})
    transfer = params.train.transfer.model_copy(update={"dense_units": 16, "weights": "none"})
    train = params.train.model_copy(update={"cnn": cnn, "transfer": transfer})
    return shaken(with_probability(build(architecture, PreprocessParams(crop=0.5, image_size=size), train), 1.3))


def galaxies(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Galaxies of many sizes and colours on a noisy sky, half of them round and half flat.

    Returns `(count, side, side, 3)` uint8, and `(count,)` float32, 1 for the round ones.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    images, is_round = [], (np.arange(count) % 2 == 0)
    for flat in np.where(is_round, random.uniform(0.75, 1, count), random.uniform(0.2, 0.5, count)):
        radius, angle = random.uniform(0.08, 0.2) * side, random.uniform(0, np.pi)
        along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / flat
        light = random.uniform(80, 240, 3) * np.exp(-np.hypot(along, across) / radius)[..., None]
        images.append(random.uniform(5, 25) + light + random.normal(0, 3, (side, side, 3)))
    return np.clip(np.rint(images), 0, 255).astype(np.uint8), is_round.astype(np.float32)


def taught(params: Params, side: int) -> keras.Model:
    """A small `regularised_cnn` that tells round galaxies from flat ones: what rounding does depends on training."""
    keras.utils.set_random_seed(5)
    small = {"filters": (8, 16, 16), "dense_units": 16, "block_dropout": 0.0, "head_dropout": 0.0}
    cnn = params.train.cnn.model_copy(update={**small, "batch_norm_momentum": 0.8})
    train = params.train.model_copy(update={"cnn": cnn})
    model = build("regularised_cnn", PreprocessParams(crop=0.5, image_size=side), train)
    images, y = galaxies(512, side, 1)
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(images.astype(np.float32), y[:, None], batch_size=32, epochs=20, verbose=0)
    return with_probability(model, 1.3)
