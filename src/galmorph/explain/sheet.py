"""The panel of one galaxy, and the sheet of many: the cutout, and what spoke for the answer."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from galmorph.data.dataset import crop_box
from galmorph.explain.heatmap import overlay
from galmorph.params import PreprocessParams

#: What each kind of the sample is called on a page.
KINDS = {
    "named": "asked for by name",
    "indexed": "asked for by place",
    "most_wrong": "confident and wrong",
    "borderline": "near even odds",
    "most_confident": "confident and right",
    "random": "drawn at random",
}
#: Okabe & Ito's vermillion: seen against dark sky by everyone, and not a colour of viridis.
_MARK = "#D55E00"


@dataclass(frozen=True)
class Explained:
    """A galaxy, the model's answer and its explanation.

    Attributes
    ----------
    image
        `(H, W, 3)` uint8, the full cutout.
    attribution
        `(H, W)` float32, in the same frame, for the predicted class.
    """

    cataid: str
    label: str
    predicted: str
    p_elliptical: float
    chosen_as: str
    image: np.ndarray
    attribution: np.ndarray

    @property
    def right(self) -> bool:
        """Whether the answer agrees with the catalogue."""
        return self.label == self.predicted

    @property
    def empty(self) -> bool:
        """Whether nothing in the image speaks for the predicted class."""
        return not bool(self.attribution.any())


def panel(galaxy: Explained, preprocess: PreprocessParams, colour_map: str, alpha: float) -> Figure:
    """Draw one galaxy: its cutout with the crop that the model saw, and the heat map over it."""
    figure = Figure(figsize=(6.4, 3.5), layout="constrained")
    cutout, heat = figure.subplots(1, 2)
    _draw_pair(cutout, heat, galaxy, preprocess, colour_map, alpha)
    cutout.set_title("cutout", fontsize=9)
    heat.set_title(f"Grad-CAM for {galaxy.predicted}", fontsize=9)
    return figure


def sheet(galaxies: list[Explained], preprocess: PreprocessParams, colour_map: str, alpha: float) -> Figure:
    """Draw many galaxies, four to a row, each as a pair of cutout and heat map under a line of facts."""
    across = 4
    rows = max(1, -(-len(galaxies) // across))
    figure = Figure(figsize=(4.1 * across, 2.55 * rows + 0.5), layout="constrained")
    figure.suptitle(
        f"Grad-CAM for the predicted class, each map scaled to its own maximum; {colour_map}, opacity {alpha:g}; "
        "the square is what the model sees",
        fontsize=11,
    )
    cells = figure.subfigures(rows, across, squeeze=False).ravel()
    for cell, galaxy in zip(cells, galaxies, strict=False):
        pair = cell.subplots(1, 2)
        _draw_pair(pair[0], pair[1], galaxy, preprocess, colour_map, alpha)
        verdict = "right" if galaxy.right else f"catalogue: {galaxy.label}"
        cell.suptitle(
            f"{galaxy.cataid} · {galaxy.predicted} (p_elliptical {galaxy.p_elliptical:.2f}) · {verdict}",
            fontsize=8,
            color="black" if galaxy.right else _MARK,
        )
    return figure


def _draw_pair(
    cutout: Axes, heat: Axes, galaxy: Explained, preprocess: PreprocessParams, colour_map: str, alpha: float
) -> None:
    top, left, side = crop_box(galaxy.image.shape[0], galaxy.image.shape[1], preprocess)
    cutout.imshow(galaxy.image)
    shown = galaxy.image.copy()
    if not galaxy.empty:
        box = slice(top, top + side), slice(left, left + side)
        shown[box] = overlay(galaxy.image[box], galaxy.attribution[box], colour_map, alpha)
    heat.imshow(shown)
    if galaxy.empty:
        heat.text(
            0.5, 0.06, f"nothing here speaks for {galaxy.predicted}", transform=heat.transAxes, ha="center",
            fontsize=7, color="white", bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none"},
        )  # fmt: skip
    for axes in (cutout, heat):
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor="white", linewidth=0.8))
        axes.set_axis_off()
