"""The files that say how well a set of galaxies was answered: tables, curves and figures."""

from pathlib import Path
from typing import Any

import pandas as pd

from galmorph.evaluation import curves
from galmorph.evaluation.figures import evaluation_figures
from galmorph.evaluation.metrics import classification_report
from galmorph.explain.embedding import png
from galmorph.storage import write_bytes, write_table, write_text


def write_report(folder: Path, scored: pd.DataFrame, scores: dict[str, Any], bins: int, title: str) -> None:
    """Write the classification report, the curves as tables, and the figures of one split.

    Parameters
    ----------
    folder
        Where to write.
    scored
        The split's predictions.
    scores
        What `metrics.score` gave for them.
    bins
        Calibration bins.
    title
        Stands above each figure.
    """
    write_text(folder / "classification_report.txt", classification_report(scored))
    write_table(folder / "roc.csv", curves.roc_curve(scored))
    write_table(folder / "calibration.csv", curves.calibration_curve(scored, bins))
    write_table(folder / "confusion.csv", curves.confusion_rows(scored))
    for name, figure in evaluation_figures(scored, scores, bins, title).items():
        write_bytes(folder / "figures" / f"{name}.png", png(figure))
