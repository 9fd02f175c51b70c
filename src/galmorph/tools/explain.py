"""`galmorph explain --model … --images …`: the stage's work for any model and any images, without the pipeline."""

import argparse
from pathlib import Path

from galmorph.errors import ParamsError
from galmorph.tools.values import given_values

NAME = "explain"
SUMMARY = "Explain a model's answers to any images."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes beside the stage's `--params` and `--set`."""
    group = parser.add_argument_group(
        "any model, any images", "with these the command needs none of the pipeline's files but params.yaml"
    )
    group.add_argument(
        "--model",
        metavar="MODEL",
        help="a .keras file, a folder with model.keras, models:/NAME@ALIAS or models:/NAME/VERSION",
    )
    group.add_argument(
        "--images", type=Path, nargs="+", default=[], metavar="PATH", help="image files, or folders (zips) of them"
    )
    group.add_argument(
        "--methods", metavar="NAME,...", help="methods parted by commas; else explain.methods, where the model allows"
    )
    group.add_argument("--crop", type=float, metavar="SHARE", help="share of the frame to see; else the model's own")
    group.add_argument(
        "--denoised",
        action="store_true",
        help="the images went through the denoiser of the model's variant already; else galmorph applies it",
    )
    group.add_argument("--out", type=Path, default=Path("explained"), metavar="DIR", help="where to write (explained)")


def wanted(options: argparse.Namespace) -> bool:
    """Whether this is meant, and not the stage."""
    return bool(options.model or options.images)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from galmorph.params import Params, check

    if not options.model or not options.images:
        missing = "--images" if options.model else "--model"
        raise ParamsError(f"galmorph explain: --model and --images go together. Received: no {missing}")
    assignments = [f"explain.methods=[{options.methods}]"] if options.methods else []
    params: Params = check(given_values(options, assignments), str(options.params))

    # After the values: a wrong one must not wait for TensorFlow.
    from galmorph.edge.explaining_outside import Outside, explain_outside

    given = Outside(
        tuple(options.images),
        params.acquire.max_pixels,
        params.validate_.blank_contrast,
        options.crop,
        options.denoised,
    )
    print(explain_outside(options.out, options.model, given, params.explain))
