"""`galmorph predict`: answer any number of images, and leave a table keyed by CATAID."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from galmorph.errors import InputError
from galmorph.params import merged
from galmorph.tools.values import given_values, values_arguments

if TYPE_CHECKING:
    from galmorph.edge.predicting import Summary

NAME = "predict"
SUMMARY = "Answer a catalogue or a folder of images with an exported or registered model."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--model", metavar="MODEL", help="an exported folder, models:/NAME@ALIAS or models:/NAME/VERSION"
    )
    parser.add_argument("--images", type=Path, metavar="PATH", help="a folder, tar or zip of images")
    parser.add_argument(
        "--catalogue", type=Path, metavar="FILE", help="CSV, FITS, VOTable or Parquet with ids; else every image"
    )
    parser.add_argument(
        "--pattern",
        action="append",
        default=[],
        metavar="NAME",
        help="what an image is called, {CATAID} standing for the id; may be repeated; else acquire.archive.patterns",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("predictions.parquet"), metavar="PARQUET", help="(predictions.parquet)"
    )
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="only the i-th of n shares of the galaxies")
    parser.add_argument("--heat-maps", action="store_true", help="heat maps too, in a file beside the table")
    parser.add_argument(
        "--export",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="the table as .fits, .fits.gz or .vot as well; may be repeated",
    )
    parser.add_argument(
        "--denoised",
        action="store_true",
        help="the images went through the denoiser of the model's variant already; else galmorph applies it",
    )
    parser.add_argument(
        "--merge", nargs="+", type=Path, default=[], metavar="PARQUET", help="join the tables of all shards instead"
    )
    values_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from galmorph.data.shard import Shard
    from galmorph.params import PredictParams, checked, predict_values

    if options.merge:
        _merge(options)
        return
    if not options.model or not options.images:
        raise InputError("galmorph predict: takes --model and --images, or --merge. Received: not both of them")
    shard, source = Shard.parse(options.shard), str(options.params)
    changes = {"patterns": options.pattern} if options.pattern else {}
    values = merged(predict_values(given_values(options), source), changes)
    params = checked(PredictParams, values, f"{source}, options")

    # After the values: a wrong one must not wait for OpenVINO.
    from galmorph.edge.predicting import Asked, predict

    asked = Asked(
        model=options.model,
        images=options.images,
        output=options.output,
        catalogue=options.catalogue,
        shard=shard,
        heat_maps=options.heat_maps,
        exports=tuple(options.export),
        denoised=options.denoised,
    )
    print(summary(predict(asked, params)))


def _merge(options: argparse.Namespace) -> None:
    from galmorph.edge.predicting import merge
    from galmorph.edge.predictions_export import check_export, export
    from galmorph.edge.predictions_files import check_may_write

    if options.model or options.images or options.catalogue:
        raise InputError("--merge: takes tables, and no --model, --images or --catalogue. Received: one of these")
    for path in options.export:
        check_export(path)
        check_may_write(path)
    print(summary(merge(options.merge, options.output, None)))
    for path in options.export:
        export(options.output, path)


def summary(found: "Summary") -> str:
    """Say in two lines what became of the images."""
    labels = ", ".join(f"{count:,} {label}" for label, count in found.labels.items())
    return (
        f"{found.answered:,} galaxies answered: {labels}; {found.near_threshold:,} of them near the threshold "
        f"({found.output})\n{found.rejected:,} rows and files without an answer ({found.rejects})"
    )
