"""Batch normalisation statistics for inference, measured and not merely followed."""

import keras
import numpy as np


def recalibrate(model: keras.Model, images: np.ndarray, batch_size: int) -> None:
    """Replace the moving statistics of every trainable batch normalisation by those of `images`, dropout off.

    Keras's moving averages are taken with dropout on and lag behind the weights. A cutout is mostly dark sky: after a
    few layers that is a large constant, dropout makes noise of it, and behind a ReLU the mean itself shifts, so that
    the averages do not fit what the layer sees in inference. Validation then looks random for many epochs, or for good.

    Parameters
    ----------
    model
        Changed in place: only `moving_mean` and `moving_variance`. Frozen layers keep theirs.
    images
        `(N, S, S, 3)` uint8 training images, as inference shows them; some hundreds suffice.
    batch_size
        Images at a time; statistics are averaged over batches. What does not fill a batch is left out, unless there is
        only that.

    References
    ----------
    Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576 (precise batch norm);
    Li, Chen, Hu & Yang 2019, "Understanding the disharmony between dropout and batch normalization by variance shift",
    CVPR, arXiv:1801.05134.
    """
    normalisations = [
        layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not normalisations:
        return
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    before = [(layer, layer.rate) for layer in dropouts], [(layer, layer.momentum) for layer in normalisations]
    whole = max(batch_size, len(images) // batch_size * batch_size)
    try:
        for layer in dropouts:
            layer.rate = 0.0
        for number, start in enumerate(range(0, min(whole, len(images)), batch_size)):
            for layer in normalisations:
                layer.momentum = number / (number + 1)  # makes the moving average the plain one
            # Called eagerly: a compiled function would keep the rates and momenta it was traced with.
            model(images[start : start + batch_size].astype(np.float32), training=True)
    finally:
        for layer, rate in before[0]:
            layer.rate = rate
        for layer, momentum in before[1]:
            layer.momentum = momentum
