"""The sheet of many galaxies: the cutout, and what spoke for the answer."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from galmorph.data.dataset import crop_box
from galmorph.explain.explained import Explained
from galmorph.explain.heatmap import colour_map_of, overlay_on_frame
from galmorph.explain.panel import MARK
from galmorph.params import PictureParams, PreprocessParams

_ACROSS = 4


def sheet(galaxies: Sequence[Explained], preprocess: PreprocessParams, picture: PictureParams) -> Figure:
    """Draw many galaxies, four to a row, each as a pair of cutout and its first map under a line of facts."""
    rows = max(1, -(-len(galaxies) // _ACROSS))
    figure = Figure(figsize=(4.1 * _ACROSS, 2.3 * rows + 0.45), layout="constrained")
    figure.suptitle(_title(galaxies, picture), fontsize=11)
    cells = figure.subfigures(rows, _ACROSS, squeeze=False).ravel()
    for cell, galaxy in zip(cells, galaxies, strict=False):
        cutout, heat = cell.subplots(1, 2)
        _draw_pair(cutout, heat, galaxy, preprocess, picture)
        verdict = {None: "", True: " · right", False: f" · catalogue: {galaxy.label}"}[galaxy.right]
        cell.suptitle(
            f"{galaxy.cataid} · {galaxy.predicted} (p_elliptical {galaxy.p_elliptical:.2f}){verdict}",
            fontsize=8,
            color=MARK if galaxy.right is False else "black",
        )
    return figure


def _title(galaxies: Sequence[Explained], picture: PictureParams) -> str:
    if not galaxies:
        return "no galaxies"
    about = galaxies[0].maps[0].about
    aim = "" if about.classless else " for the predicted class"
    return (
        f"{about.title}{aim}, each map on a scale of its own; {colour_map_of(about.signed, picture)}, "
        f"opacity {picture.alpha:g}; the square is what the model sees"
    )


def _draw_pair(
    cutout: Axes, heat: Axes, galaxy: Explained, preprocess: PreprocessParams, picture: PictureParams
) -> None:
    first = galaxy.maps[0]
    top, left, side = crop_box(galaxy.image.shape[0], galaxy.image.shape[1], preprocess)
    cutout.imshow(galaxy.image)
    heat.imshow(overlay_on_frame(galaxy.image, first.attribution, first.about.signed, preprocess, picture))
    if first.empty:
        heat.text(
            0.5, 0.06, first.notes(galaxy.predicted)[0], transform=heat.transAxes, ha="center",
            fontsize=7, color="white", bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none"},
        )  # fmt: skip
    for axes in (cutout, heat):
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor="white", linewidth=0.8))
        axes.set_axis_off()
