"""The model that MLflow's registry holds: files, signature, example and requirements."""

import contextlib
import logging
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow

import galmorph
from galmorph.models.saved import ModelFacts, load_keras
from galmorph.params import RegisterStageParams

#: What `models/pyfunc.py` and the parts of galmorph that it calls import; a test looks at what a version does import.
REQUIREMENTS = (
    "keras",
    "matplotlib",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "psutil",
    "pyarrow",
    "pydantic",
    "PyWavelets",
    "ruamel.yaml",
    "scikit-image",
    "scipy",
    "tensorflow",
    "tqdm",
)


def log_model(file: Path, facts: ModelFacts, example: bytes, params: RegisterStageParams) -> str:
    """Log a model file into the active run, ready to be registered.

    Parameters
    ----------
    file
        The `.keras` file.
    facts
        Its facts; they become the metadata.
    example
        An image file's bytes.
    params
        What the model reads, and how it draws.

    Returns
    -------
    str
        URI of the logged model.

    Raises
    ------
    ModelError
        When Keras cannot load it, or refuses to, as for code in a layer.
    """
    # MLflow asks it about the example too, but one that cannot even be loaded is no more than a warning to it.
    load_keras(file)
    package = Path(galmorph.__file__).parent
    # They report that the input may be of several types, and the output a table: so it is meant.
    with _without_reports("mlflow.models.signature", "mlflow.types.type_hints"):
        logged = mlflow.pyfunc.log_model(
            name="model",
            # The file, not an object: models-from-code, so that nothing is pickled.
            python_model=str(package / "models" / "pyfunc.py"),
            code_paths=[str(package)],
            artifacts={"model": str(file)},
            model_config=_config(params),
            # With the parameters that `predict` takes: MLflow makes their schema of them.
            input_example=([example], {"heat_map": "none"}),
            # Named here: MLflow would otherwise load the model in a process of its own to find out.
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            metadata=facts.model_dump(mode="json"),
        )
    return str(logged.model_uri)


def _config(params: RegisterStageParams) -> dict[str, Any]:
    return {
        "batch_size": params.register_.batch_size,
        "max_pixels": params.register_.max_pixels,
        "layer": params.explain.grad_cam.layer,
        "picture": params.explain.picture.model_dump(mode="json"),
        # Only who loads the model can say otherwise, and no request to a server can.
        "allow_paths": False,
    }


@contextlib.contextmanager
def _without_reports(*names: str) -> Iterator[None]:
    """Let nothing but errors of some loggers through."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
