"""`galmorph score`: any model on any labelled folder of images."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from galmorph.errors import ParamsError
from galmorph.tools.values import given_values, values_arguments

NAME = "score"
SUMMARY = "Score a model on a label file and a folder of images, of any size and format."
#: Scores that the table shows; metrics.json has all.
_SHOWN = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("roc_auc", "ROC AUC"),
    ("ece", "calibration error"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="a .keras file, a folder with model.keras, models:/NAME@ALIAS or models:/NAME/VERSION",
    )
    parser.add_argument("--labels", required=True, type=Path, metavar="CSV", help="the label file")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR", help="the folder (or zip) of images")
    parser.add_argument(
        "--pattern",
        action="append",
        default=[],
        metavar="NAME",
        help="what an image is called, {CATAID} standing for the id; may be repeated; else acquire.archive.patterns",
    )
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="id=NAME,label=NAME",
        help="columns of the label file; else acquire.archive.columns",
    )
    parser.add_argument(
        "--coding",
        action="append",
        default=[],
        metavar="TEXT=LABEL,...",
        help="what stands for Elliptical and Other, `0=Elliptical,1=Other`; else acquire.archive.coding",
    )
    parser.add_argument("--crop", type=float, metavar="SHARE", help="share of the frame to see; else the model's own")
    parser.add_argument(
        "--denoised",
        action="store_true",
        help="the images went through the denoiser of the model's variant already; else galmorph applies it",
    )
    parser.add_argument("--out", type=Path, default=Path("scores"), metavar="DIR", help="where to write (scores)")
    values_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from galmorph.params import ArchiveParams, EvaluateParams, checked

    values, source = given_values(options), str(options.params)
    acquire = _section(values, "acquire", source)
    archive = checked(ArchiveParams, _described(_section(acquire, "archive", source), options), f"{source}, options")
    params = checked(EvaluateParams, _section(values, "evaluate", source), f"{source}: evaluate")

    # After the values: a wrong one must not wait for TensorFlow.
    from galmorph.edge.labelled import Labelled, score_labelled

    given = Labelled(
        options.labels, options.images, archive, int(_section(acquire, "max_pixels", source)), options.denoised
    )
    metrics = score_labelled(options.out, options.model, given, options.crop, params)
    print(summary(metrics, options.out))


def summary(metrics: Mapping[str, Any], out: Path) -> str:
    """Lay the scores out as a short table.

    Parameters
    ----------
    metrics
        What `labelled.score_labelled` gave.
    out
        Where its files are.
    """
    from galmorph.evaluation.metrics import CLASSES, PER_CLASS
    from galmorph.evaluation.text import interval_text, percent, score_text

    scores = metrics["scores"]
    counts = f"{scores['n']:,} galaxies scored, {metrics['rejected']:,} rows and files left out"
    lines = [
        f"{metrics['experiment']} ({metrics['model']}) on {metrics['labels']}: {counts} ({out / 'rejected.csv'})",
        "",
        f"{'':<20}{'score':<9}{percent(scores['confidence'])} interval",
    ]
    for name, words in _SHOWN:
        value = score_text({"value": scores[name]["value"]})
        lines.append(f"{words:<20}{value:<9}{interval_text(scores[name]).strip()}".rstrip())
    lines += ["", f"{'':<20}{'precision':<11}{'recall':<9}{'F1':<8}galaxies"]
    for label in CLASSES:
        precision, recall, f1 = (score_text({"value": scores[name][label]["value"]}) for name in PER_CLASS)
        lines.append(f"{label:<20}{precision:<11}{recall:<9}{f1:<8}{scores['support'][label]:,}")
    return "\n".join([*lines, "", f"Predictions, all scores and figures: {out}"])


def _described(archive: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Lay the options over `acquire.archive`; patterns and coding replace it whole, columns one by one."""
    described = dict(archive)
    if options.pattern:
        described["patterns"] = options.pattern
    if options.columns:
        described["columns"] = {**archive["columns"], **_pairs(options.columns, "--columns")}
    if options.coding:
        described["coding"] = _pairs(options.coding, "--coding")
    return described


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    pairs = [text.partition("=") for part in given for text in part.split(",") if text.strip()]
    if wrong := ["".join(pair) for pair in pairs if not pair[1] or not pair[2].strip()]:
        raise ParamsError(f"{option}: takes NAME=VALUE, several parted by commas. Received: {', '.join(wrong)}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _section(values: Mapping[str, Any], name: str, source: str) -> Any:
    if not isinstance(values, Mapping) or name not in values:
        raise ParamsError(f"{source}: {name}: missing key. Give a params.yaml of galmorph with --params.")
    return values[name]
