"""`python -m pipelines.compile`: write the pipelines that can be submitted, into `pipelines/compiled/`."""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import compiler

from galmorph.storage import write_text
from pipelines.prediction import prediction
from pipelines.training import training, training_on_revision

HEADER = "# Written by `python -m pipelines.compile`, which a test compares it with.\n"
FOLDER = Path(__file__).parent / "compiled"
#: By the name of their file.
PIPELINES: Mapping[str, Any] = {
    "training": training,
    "training_on_revision": training_on_revision,
    "prediction": prediction,
}


def compiled(pipeline: Any) -> str:
    """Return a pipeline as YAML; the same pipeline makes the same text."""
    with tempfile.TemporaryDirectory(prefix="galmorph-compile-") as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        # The compiler begins with a comment that repeats the defaults, each time in another order.
        return HEADER + "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#"))


def main(arguments: list[str] | None = None) -> None:
    """Compile every pipeline."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description=__doc__)
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER")
    options = parser.parse_args(arguments)
    for name, pipeline in PIPELINES.items():
        path = options.into / f"{name}.yaml"
        write_text(path, compiled(pipeline))
        print(path)


if __name__ == "__main__":
    main()
