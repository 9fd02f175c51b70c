"""A small vision transformer, and what its attention looked at.

It is built of Keras's own layers. The class token and the learned positions are the bias of the layer that embeds the
patches: a token of zeros stands in front of them, of which the embedding leaves its bias alone, the class token.
"""

import keras
import numpy as np

from galmorph.errors import ModelError
from galmorph.models.layers import image_input, logit
from galmorph.models.predict import check_size
from galmorph.params import VitParams

#: Standard deviation that positions, class token and the last layer start with, as in DeiT's code.
_SPREAD = 0.02
_EPSILON = 1e-6


def vit(image_size: int, params: VitParams) -> keras.Model:
    """Patches → tokens with positions → pre-norm blocks of attention and MLP → norm → the class token → logit.

    Dropout is where the paper has it: after the embedding and after each dense layer, none on the attention weights.

    Parameters
    ----------
    image_size
        Side of the images in pixels, a multiple of the patch.
    params
        Side of a patch in pixels, width of a token, number of blocks and heads, units of the MLP, dropout.

    Returns
    -------
    keras.Model
        From `(N, image_size, image_size, 3)` float32 in [0, 255] to the `(N, 1)` logit for Elliptical.

    Raises
    ------
    ModelError
        When the size is not a multiple of the patch.

    References
    ----------
    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR,
    arXiv:2010.11929; the default sizes are ViT-Ti's of Touvron et al. 2021, arXiv:2012.12877.
    """
    patch = params.patch
    if image_size % patch:
        near = sorted({max(1, image_size // patch) * patch, (image_size // patch + 1) * patch})
        raise ModelError(
            f"vit cuts images into patches: preprocess.image_size must be a multiple of train.vit.patch, {patch}. "
            f"Choose {' or '.join(map(str, near))}. Received: {image_size}"
        )
    layers = keras.layers
    image = image_input(image_size)
    tokens = _tokens(layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scale")(image), params)
    for i in range(1, params.depth + 1):
        tokens = _block(tokens, f"block{i}", params)
    tokens = layers.LayerNormalization(epsilon=_EPSILON, name="norm")(tokens)
    first = layers.Cropping1D((0, tokens.shape[1] - 1), name="first_token")(tokens)
    answer = layers.Flatten(name="class_token")(first)
    # The normalised token is long: an ordinary beginning would make answers sure of themselves before any training.
    return keras.Model(image, logit(answer, keras.initializers.TruncatedNormal(stddev=_SPREAD)), name="vit")


def _tokens(image: keras.KerasTensor, params: VitParams) -> keras.KerasTensor:
    """Embed an image's patches: `(N, S, S, 3)` to `(N, 1 + (S/patch)², width)`."""
    layers, patch = keras.layers, params.patch
    side = image.shape[1] // patch
    rows = layers.Reshape((side, patch, side, patch, 3), name="patch_rows")(image)
    columns = layers.Permute((1, 3, 2, 4, 5), name="patch_columns")(rows)
    patches = layers.Reshape((side * side, patch * patch * 3), name="patches")(columns)
    padded = layers.ZeroPadding1D((1, 0), name="class_padding")(patches)
    tokens = layers.EinsumDense(
        "btd,de->bte",
        (side * side + 1, params.width),
        bias_axes="te",
        bias_initializer=keras.initializers.RandomNormal(stddev=_SPREAD),
        name="embedding",
    )(padded)
    return layers.Dropout(params.dropout, name="embedding_dropout")(tokens)


def _block(tokens: keras.KerasTensor, name: str, params: VitParams) -> keras.KerasTensor:
    layers = keras.layers
    normed = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_attention_norm")(tokens)
    attended = layers.MultiHeadAttention(params.heads, params.width // params.heads, name=f"{name}_attention")(
        normed, normed
    )
    attended = layers.Dropout(params.dropout, name=f"{name}_attention_dropout")(attended)
    tokens = layers.Add(name=f"{name}_attention_add")([tokens, attended])
    hidden = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_mlp_norm")(tokens)
    hidden = layers.Dense(params.mlp, activation="gelu", name=f"{name}_mlp_hidden")(hidden)
    hidden = layers.Dropout(params.dropout, name=f"{name}_mlp_hidden_dropout")(hidden)
    hidden = layers.Dense(params.width, name=f"{name}_mlp")(hidden)
    hidden = layers.Dropout(params.dropout, name=f"{name}_mlp_dropout")(hidden)
    return layers.Add(name=f"{name}_add")([tokens, hidden])


class Attention:
    """The attention weights with which a transformer answers.

    Each block's attention is asked again, for its weights, on the very tokens that it was given; the model stays as it
    is, and its weights are read when it is asked. It may have been trained here or loaded from its file.

    Parameters
    ----------
    model
        A galmorph `vit`.

    Raises
    ------
    ModelError
        When the model has no attention.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._layers = [layer for layer in model.layers if isinstance(layer, keras.layers.MultiHeadAttention)]
        if not self._layers:
            raise ModelError(
                f"{model.name} has no attention to read out. Choose an experiment of the architecture vit."
            )
        norms = [model.get_layer(f"{layer.name}_norm").output for layer in self._layers]
        self._given = keras.Model(model.input, norms)

    def __call__(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Read the weights out.

        Parameters
        ----------
        images
            `(N, S, S, 3)` of any real type, in [0, 255], at the model's size.
        batch_size
            Images at a time.

        Returns
        -------
        numpy.ndarray
            `(N, depth, heads, T, T)` float32: in each row, the weights over all tokens with which a token looks at
            them, their sum 1. Token 0 is the class token, then come the patches, row by row. At 300 pixels an image
            takes 20 MB.

        Raises
        ------
        ModelError
            When the images are not of the model's size.
        """
        check_size(self._model, images)
        tokens = self._layers[0].output.shape[1]
        weights = np.empty((len(images), len(self._layers), self._layers[0].num_heads, tokens, tokens), np.float32)
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            # One block alone comes as an array of its own.
            given = keras.tree.flatten(self._given.predict_on_batch(images[part].astype(np.float32)))
            for number, (layer, inputs) in enumerate(zip(self._layers, given, strict=True)):
                _, scores = layer(inputs, inputs, return_attention_scores=True, training=False)
                weights[part, number] = keras.ops.convert_to_numpy(scores)
        return weights
