"""The first and the last layers that every model shares.

A model takes `(N, S, S, 3)` float32 RGB in [0, 255]; scaling is a layer inside it. It ends in three named layers:
`logit` (one logit for Elliptical), `temperature` (fitted on validation) and `p_elliptical`.
All of them are Keras's own layers, so that a saved model loads in safe mode wherever Keras is.
"""

import keras

#: Name of the layer that ends a backbone, `(N, F)`; what comes after it is the head.
FEATURES = "features"


def image_input(image_size: int) -> keras.KerasTensor:
    """`(N, image_size, image_size, 3)` float32 RGB in [0, 255]."""
    return keras.Input((image_size, image_size, 3), name="image")


def logit(
    features: keras.KerasTensor, initializer: keras.initializers.Initializer | str = "glorot_uniform"
) -> keras.KerasTensor:
    """One logit for Elliptical, `(N, 1)`, in float32 whatever the precision before it."""
    return keras.layers.Dense(1, kernel_initializer=initializer, dtype="float32", name="logit")(features)


def with_probability(model: keras.Model, temperature: float) -> keras.Model:
    """Return the model ended by its temperature and the sigmoid: `(N, 1)` calibrated `p_elliptical`.

    Parameters
    ----------
    model
        A model whose output is the layer `logit`.
    temperature
        What logits are divided by (Guo et al. 2017, arXiv:1706.04599).
    """
    # Keras's Rescaling holds the factor in its configuration: no class of ours is needed to load the file.
    scaled = keras.layers.Rescaling(1.0 / temperature, dtype="float32", name="temperature")(model.output)
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="p_elliptical")(scaled)
    return keras.Model(model.input, probability, name=model.name)
