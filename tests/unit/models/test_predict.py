"""Answering batches as they come."""

import numpy as np

from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.models.predict import predict_batches, predict_logits
from galmorph.params import PreprocessParams

SMALL = PreprocessParams(crop=0.5, image_size=24)


def test_batches_are_answered_as_they_come(params):
    small = params.train.cnn.model_copy(update={"filters": (4, 4, 4), "dense_units": 8})
    network = build("baseline_cnn", SMALL, params.train.model_copy(update={"cnn": small}))
    model = with_probability(network, 1.0)
    images = np.random.default_rng(3).integers(0, 256, (9, 24, 24, 3), np.uint8)
    made = []

    def batches():
        for start in (0, 4, 8):
            made.append(start)
            yield images[start : start + 4]

    answers = predict_batches(model, batches())
    first, _ = next(answers)
    assert made == [0]  # the second batch is not made before the first is answered
    logits = np.concatenate([first, *(logits for logits, _ in answers)])
    np.testing.assert_allclose(logits, predict_logits(model, images, 9)[0], atol=1e-5)
