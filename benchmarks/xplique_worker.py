"""xplique in an environment of its own, told what to do line by line; for explain.py and crosscheck_xplique.py.

    PYTHON benchmarks/xplique_worker.py WORK_FOLDER

xplique pins tensorflow below the release that galmorph needs. It works beside the newer one when it is installed
without its requirements, into an environment that sees galmorph's packages but is not galmorph's:

    python3.11 -m venv /tmp/xplique-env
    .venv/bin/python -c 'import site; print(site.getsitepackages()[0])' > \
        /tmp/xplique-env/lib/python3.11/site-packages/galmorph.pth
    /tmp/xplique-env/bin/pip install --no-deps \
        xplique==2.0.2 deprecated tensorflow-probability tf-keras dm-tree decorator einops

The work folder holds `model.keras`, which takes images and ends in the logit, `images.npy` and `signs.npy`. Each line
of standard input is a JSON object with `method` (`integrated_gradients`, `grad_cam`, or `grad_cam_bilinear`),
`batch_size`, `steps`, `layer`, `images` (how many of them) and `maps` (a file for the maps, or null). It is answered by
one line, {"seconds": ...}. An explainer is made once for each setting; its first call, which compiles, is not timed.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What xplique and its libraries print must not come between the answers.
ANSWERS = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import xplique  # noqa: E402
from xplique.attributions import GradCAM, IntegratedGradients  # noqa: E402


class BilinearGradCAM(GradCAM):
    """xplique's Grad-CAM in its own steps, enlarged as galmorph enlarges it."""

    def explain(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Explain in one batch, `(N, S, S, 1)`."""
        features, gradients = self._gradient(tf.constant(inputs), tf.constant(targets))
        maps = self._apply_weights(self._compute_weights(gradients, features), features)
        return tf.image.resize(maps[..., None], inputs.shape[1:3], method="bilinear").numpy()


def explainer(model: keras.Model, asked: dict):
    """Make xplique's explainer of a method, from a black baseline."""
    if asked["method"] != "integrated_gradients":
        kind = GradCAM if asked["method"] == "grad_cam" else BilinearGradCAM
        return kind(model, batch_size=asked["batch_size"], conv_layer=asked["layer"])
    return IntegratedGradients(model, batch_size=asked["batch_size"], steps=asked["steps"], baseline_value=0.0)


def main() -> None:
    """Answer until standard input ends."""
    folder = Path(sys.argv[1])
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    images = np.load(folder / "images.npy").astype(np.float32)
    signs = np.load(folder / "signs.npy").astype(np.float32)[:, None]
    print(json.dumps({"xplique": xplique.__version__}), file=ANSWERS, flush=True)
    made: dict[str, object] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        count, maps = asked["images"], asked.pop("maps")
        key = json.dumps(asked)
        if key not in made:
            made[key] = explainer(model, asked)
            made[key](images[:count], signs[:count])
        start = time.perf_counter()
        found = np.asarray(made[key](images[:count], signs[:count]))
        seconds = time.perf_counter() - start
        if maps:
            np.save(maps, found.reshape(found.shape[:3]).astype(np.float32))
        print(json.dumps({"seconds": seconds}), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
