"""How large and how fast the architectures are: layers, parameters, floating-point operations, images per second.

    python benchmarks/complexity.py [--sizes 64 300] [--batch 32] [--seconds 2] [--no-speed]

Builds every architecture with the values of params.yaml and random weights, at each size in pixels, and prints a table
in Markdown. The transformer takes the multiple of its patch that is nearest below the size. Operations are two for
each multiply-add of convolutions, dense layers and attention, for one image. Speed depends on the machine: the last
line says on what it was measured. TF_NUM_INTRAOP_THREADS sets the number of threads.
"""

import argparse
from pathlib import Path

from galmorph import params as p
from galmorph.models.architectures import ARCHITECTURES, build
from galmorph.models.complexity import complexity, images_per_second
from galmorph.models.layers import with_probability

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
#: Classes of layers that a table has a column for; the others are added up.
COLUMNS = {"Conv2D": "convolutions", "Dense": "dense", "MultiHeadAttention": "attention"}
HEADINGS = (
    "architecture", "pixels", "layers", *COLUMNS.values(), "parameters", "trainable", "of the backbone", "GFLOPs",
    "images/s",
)  # fmt: skip


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    values = p.check(p.read_values(PARAMS), str(PARAMS))
    sizes = [values.preprocess.image_size, 300]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help=f"pixels (default {sizes[0]} {sizes[1]})")
    parser.add_argument("--batch", type=int, default=32, help="images at a time when speed is measured (default 32)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to measure each (default 2)")
    parser.add_argument("--no-speed", action="store_true", help="count only; the same on every machine")
    arguments = parser.parse_args()
    # Whatever params.yaml says: weights change neither counts nor speed.
    transfer = values.train.transfer.model_copy(update={"weights": "none"})
    train = values.train.model_copy(update={"transfer": transfer})

    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    measured = None
    for architecture in ARCHITECTURES:
        for size in arguments.sizes:
            fitting = size // train.vit.patch * train.vit.patch if architecture == "vit" else size
            preprocess = p.PreprocessParams(crop=1.0, image_size=fitting)
            model = with_probability(build(architecture, preprocess, train), 1.0)
            counted = complexity(model)
            if not arguments.no_speed:
                measured = images_per_second(model, arguments.batch, arguments.seconds)
            print(row(counted, measured), flush=True)
    if measured:
        print("\nMeasured on {device}, {threads} threads, {batch_size} images at a time.".format(**measured))


def row(counted: dict, measured: dict | None) -> str:
    """Return a line of the table."""
    parameters = counted["parameters"]
    cells = [
        f"`{counted['architecture']}`",
        counted["image_size"],
        sum(counted["layers"].values()),
        *(counted["layers"].get(kind, 0) for kind in COLUMNS),
        *("-" if value is None else f"{value / 1e6:.2f} M" for value in
          (parameters["total"], parameters["trainable"], parameters["backbone"])),
        f"{counted['flops'] / 1e9:.3g}",
        f"{measured['images_per_second']:,.1f}" if measured else "-",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
