"""The picture of a layer's filters: what each of them answers to one image."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galmorph.explain.activations import Activity

#: Filters to a row.
_ACROSS = 8
#: Dead filters that a title names one by one.
_NAMED = 10
#: Okabe & Ito's vermillion: seen by everyone, and not a colour of viridis.
_MARK = "#D55E00"


def activation_sheet(image: np.ndarray, maps: np.ndarray, activity: Activity, colour_map: str, filters: int) -> Figure:
    """Draw what the filters of a layer answer to one image.

    Each filter is scaled to itself, from zero (or its smallest value, where that is below) to its largest value in this
    image, which is written beside its number: with one scale for all, a weak answer would look like none. Filters that
    are zero all over the image say so, and dead ones are crossed out.

    Parameters
    ----------
    image
        `(S, S, 3)` uint8: the image as the model saw it, before scaling.
    maps
        `(h, w, C)` float, its activations.
    activity
        Of the same layer, over a set of images.
    colour_map
        A matplotlib colour map.
    filters
        How many are drawn, at most: the first by number.

    Returns
    -------
    matplotlib.figure.Figure
        The image, and beside it the filters, eight to a row.
    """
    drawn = min(filters, maps.shape[-1])
    rows = -(-drawn // _ACROSS)
    figure = Figure(figsize=(1.25 * (_ACROSS + 1), 1.45 * rows + 0.75), layout="constrained")
    figure.suptitle(_title(maps, activity, drawn), fontsize=9)
    cells = figure.subplots(rows, _ACROSS + 1, squeeze=False)
    for cell in cells.ravel():
        cell.set_axis_off()
    cells[0, 0].imshow(image)
    cells[0, 0].set_title("what the model saw", fontsize=7)
    for number, cell in zip(range(drawn), cells[:, 1:].ravel(), strict=False):
        _draw(cell, maps[..., number], number, number in activity.dead, colour_map)
    return figure


def dead_filters(activity: Activity) -> str:
    """Say how many of a layer's filters are dead, over how many images, and which."""
    dead, all_of_them = activity.dead, len(activity.answering)
    numbers = ", ".join(map(str, dead[:_NAMED])) + (", …" if len(dead) > _NAMED else "")
    said = f"{len(dead)} of {all_of_them} filters are dead over {activity.images} images"
    return f"{said}: {numbers}" if dead else said


def _title(maps: np.ndarray, activity: Activity, drawn: int) -> str:
    height, width, channels = maps.shape
    which = f"filters 0 to {drawn - 1} of {channels}" if drawn < channels else f"all {channels} filters"
    return (
        f"{activity.view.title}: {which}, {width} by {height} positions; {dead_filters(activity)}\n"
        "each scaled from 0, or its smallest value below, to its largest in this image, written after its number"
    )


def _draw(cell: Axes, values: np.ndarray, number: int, dead: bool, colour_map: str) -> None:
    low, high = min(0.0, float(values.min())), float(values.max())
    # A filter that is zero all over has no scale: any will do that shows it as the lowest colour.
    cell.imshow(values, cmap=colour_map, vmin=low, vmax=high if high > low else low + 1, interpolation="nearest")
    if dead:
        cell.plot([0, 1], [0, 1], color=_MARK, transform=cell.transAxes)
        cell.plot([0, 1], [1, 0], color=_MARK, transform=cell.transAxes)
        cell.set_title(f"{number}: dead", fontsize=7, color=_MARK)
    elif not values.any():
        cell.set_title(f"{number}: nothing here", fontsize=7)
    else:
        below = f"{low:.2g} to " if low < 0 else ""
        cell.set_title(f"{number}: {below}{high:.3g}", fontsize=7)
