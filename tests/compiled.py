"""A pipeline that kfp compiles in a moment, with the parameters that the real ones have."""

from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from galmorph.cluster.values import carried

SECTIONS = ("preprocess", "train", "experiments", "compare")


#: That a cluster could pull.
IMAGE = "registry.test/galmorph/train-cpu:0.1.0"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def show(values: dict, revision: str):
    """Print values."""
    print(values, revision)


@dsl.pipeline(name="galmorph-training")
def training(
    revision: str,
    preprocess: dict = {},  # noqa: B006 - kfp writes it into the pipeline
    train: dict = {},  # noqa: B006
    experiments: dict = {},  # noqa: B006
    compare: dict = {},  # noqa: B006
    node_selector: dict = {},  # noqa: B006
    gpus: int = 0,
    tune: bool = False,
    patience: float = 0.5,
):
    """Print the values of one section."""
    show(values=train, revision=revision)


def compile_small(path: Path, values: dict[str, Any]) -> Path:
    """Compile it, with defaults from a params.yaml, to `path`."""
    compiler.Compiler().compile(
        training, str(path), pipeline_parameters=carried({key: values[key] for key in SECTIONS})
    )
    return path
