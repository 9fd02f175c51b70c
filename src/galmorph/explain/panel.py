"""Everything that is shown of one galaxy side by side: as cells for a page, and as one figure."""

import textwrap
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galmorph.data.dataset import crop_box, prepare
from galmorph.data.segment import segment
from galmorph.explain.explained import Activation, Explained, MethodMap
from galmorph.explain.heatmap import colour_map_of, coloured, overlay_on_frame, scale_end
from galmorph.params import PictureParams, PreprocessParams

#: Longer side of a cell's picture in pixels: sharp at the width of half a phone.
_SIDE = 240
_COLUMNS = 4
#: Okabe & Ito's vermillion: seen by everyone, and not a colour of the maps.
MARK = "#D55E00"


@dataclass(frozen=True)
class Bar:
    """A cell's colour scale: name of the colour map, and what its ends and, for maps with signs, its middle are."""

    colour_map: str
    low: str
    middle: str
    high: str


@dataclass(frozen=True)
class Cell:
    """One picture of a panel.

    Attributes
    ----------
    method
        Name of the method whose map it is; None where it is none's.
    picture
        `(h, w, 3)` uint8.
    alt
        What it shows, for those who cannot see it.
    bar
        None where the picture has no colour scale.
    """

    method: str | None
    title: str
    picture: np.ndarray
    alt: str
    bar: Bar | None
    notes: tuple[str, ...]


def cells(galaxy: Explained, preprocess: PreprocessParams, picture: PictureParams) -> tuple[Cell, ...]:
    """Draw the cutout, its first map laid over it, every map by itself, and the activations.

    The cutout is whole, with a square around what the model saw; maps and activations show that square alone, with
    the outline of the galaxy's own segment.

    Parameters
    ----------
    galaxy
        With at least one map.
    preprocess
        The model's crop.
    picture
        Colours, opacity and scale.
    """
    outline = _outline(galaxy.image, preprocess)
    return (
        _cutout(galaxy, preprocess),
        _superimposed(galaxy, preprocess, picture),
        *(_map(galaxy, one, outline, picture) for one in galaxy.maps),
        *(_activation(galaxy, one, outline, picture) for one in galaxy.activations),
    )


def heading(galaxy: Explained) -> str:
    """Name the galaxy, the answer and the truth in one line."""
    truth = "" if galaxy.label is None else f" · catalogue: {galaxy.label}"
    return f"{galaxy.cataid} · predicted {galaxy.predicted} (p_elliptical {galaxy.p_elliptical:.2f}){truth}"


def panel(galaxy: Explained, preprocess: PreprocessParams, picture: PictureParams) -> Figure:
    """Draw a galaxy's cells as one figure, four to a row, under a line of facts and above the notes."""
    shown = cells(galaxy, preprocess, picture)
    rows = -(-len(shown) // _COLUMNS)
    notes = [textwrap.fill(note, 110) for note in (*galaxy.notes(), scale_note(picture))]
    figure = Figure(figsize=(8.8, 2.75 * rows + 0.55 + 0.17 * sum(1 + note.count("\n") for note in notes)))
    figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.03)
    figure.suptitle(heading(galaxy), fontsize=11, color=MARK if galaxy.right is False else "black")
    for axes, cell in zip(figure.subplots(rows, _COLUMNS, squeeze=False).ravel(), shown, strict=False):
        _draw(axes, cell)
    for axes in figure.axes[len(shown) : rows * _COLUMNS]:
        axes.set_axis_off()
    figure.supxlabel("\n".join(notes), fontsize=8, x=0.01, ha="left")
    return figure


def scale_note(picture: PictureParams) -> str:
    """State how maps are normalised."""
    beyond = (
        "" if picture.covered == 1 else f"; the strongest {100 * (1 - picture.covered):.2g} % are drawn like its end"
    )
    return (
        f"Each map has a colour scale of its own, from 0 (dark) to its own strong values{beyond}. Compare places "
        "within a map, not the brightness of two maps."
    )


def _draw(axes: Axes, cell: Cell) -> None:
    axes.imshow(cell.picture)
    axes.set_title(textwrap.fill(cell.title, 27), fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    said = "\n".join(line for note in cell.notes for line in textwrap.wrap(note, 34))
    if cell.bar is None:
        axes.set_xlabel(said, fontsize=7)
        return
    strip = axes.inset_axes((0.0, -0.075, 1.0, 0.045))
    strip.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=cell.bar.colour_map, extent=(0, 1, 0, 1))
    places = {0.0: cell.bar.low, 0.5: cell.bar.middle, 1.0: cell.bar.high}
    strip.set_xticks(list(places), list(places.values()), fontsize=7)
    strip.set_yticks([])
    strip.tick_params(length=0, pad=2)
    # The ends' numbers stay within the bar; text of the neighbouring picture is near.
    first, _, last = strip.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    strip.set_xlabel(said, fontsize=7, labelpad=1)


def _cutout(galaxy: Explained, preprocess: PreprocessParams) -> Cell:
    share = f"the central {100 * preprocess.crop:.0f} % of its frame"
    return Cell(
        None,
        "cutout",
        _framed(galaxy.image, preprocess),
        f"Cutout of galaxy {galaxy.cataid}; a square marks what the model saw, {share}",
        None,
        ("the square is what the model sees",),
    )


def _superimposed(galaxy: Explained, preprocess: PreprocessParams, picture: PictureParams) -> Cell:
    first = galaxy.maps[0]
    signed = first.about.signed
    whole = overlay_on_frame(galaxy.image, first.attribution, signed, preprocess, picture)
    return Cell(
        first.about.name,
        f"{first.about.title} superimposed",
        _framed(whole, preprocess),
        f"The {first.about.title} map of galaxy {galaxy.cataid} laid over its cutout, {_place(first)}",
        _bar(first.attribution, signed, picture),
        first.notes(galaxy.predicted)[:1] if first.empty else (),
    )


def _map(galaxy: Explained, one: MethodMap, outline: np.ndarray, picture: PictureParams) -> Cell:
    aim = "" if one.about.classless else f" for {galaxy.predicted}"
    return Cell(
        one.about.name,
        one.about.title,
        _outlined(coloured(_sized(one.attribution), one.about.signed, picture), outline),
        f"{one.about.title} map{aim} of galaxy {galaxy.cataid}, {_place(one)}",
        _bar(one.attribution, one.about.signed, picture),
        one.notes(galaxy.predicted),
    )


def _activation(galaxy: Explained, one: Activation, outline: np.ndarray, picture: PictureParams) -> Cell:
    signed = bool((one.values < 0).any())
    return Cell(
        None,
        one.layer,
        _outlined(coloured(_sized(one.values), signed, picture), outline),
        f"Mean activation of layer {one.layer} for galaxy {galaxy.cataid}",
        _bar(one.values, signed, picture),
        ("mean of its filters",),
    )


def _bar(values: np.ndarray, signed: bool, picture: PictureParams) -> Bar:
    end = scale_end(values, signed, picture.covered)
    if end == 0:
        return Bar(colour_map_of(signed, picture), "0 everywhere", "", "")
    if signed:
        return Bar(colour_map_of(signed, picture), f"\u2212{end:.2g}", "0", f"+{end:.2g}")
    return Bar(colour_map_of(signed, picture), "0", "", f"{end:.2g}")


def _place(one: MethodMap) -> str:
    """Say in words where a map is strongest."""
    if one.empty:
        return "empty"
    values = one.attribution
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    down = ("upper", "middle", "lower")[int(3 * row // values.shape[0])]
    across = ("left", "centre", "right")[int(3 * column // values.shape[1])]
    return "strongest at the centre" if (down, across) == ("middle", "centre") else f"strongest {down} {across}"


def _sized(values: np.ndarray) -> np.ndarray:
    """Bring a map to a cell's size; the centre of a pixel stays at the centre of its area."""
    return np.asarray(cv2.resize(values.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR))


def _framed(image: np.ndarray, preprocess: PreprocessParams) -> np.ndarray:
    """Bring a whole frame to a cell's size and draw the square of the crop."""
    height, width = image.shape[:2]
    factor = _SIDE / max(height, width)
    size = max(1, round(factor * width)), max(1, round(factor * height))
    drawn = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    top, left, side = crop_box(height, width, preprocess)
    first = round(factor * left), round(factor * top)
    last = round(factor * (left + side)) - 1, round(factor * (top + side)) - 1
    return np.asarray(cv2.rectangle(drawn, first, last, (255, 255, 255), 1), np.uint8)


def _outline(image: np.ndarray, preprocess: PreprocessParams) -> np.ndarray:
    """Edge of the galaxy's own segment in what the model saw, `(_SIDE, _SIDE)` bool; nothing without a galaxy."""
    mask = np.repeat(segment(image).galaxy[..., None].astype(np.uint8) * 255, 3, -1)
    inside = prepare(mask, PreprocessParams(crop=preprocess.crop, image_size=_SIDE))[..., 0] > 127
    drawn = np.zeros((_SIDE, _SIDE), np.uint8)
    found, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(drawn, found, -1, 1, 1), bool)


def _outlined(picture: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Draw the outline so that it is seen on dark and on bright colours, and hides little."""
    bright = picture.astype(np.float32).mean(-1, keepdims=True) > 150
    line = np.where(bright, 0.0, 255.0)
    return np.asarray(np.where(outline[..., None], 0.35 * picture + 0.65 * line, picture).round(), np.uint8)


def gradient(colour_map: str, stops: int) -> str:
    """Return a colour map as a CSS gradient."""
    colours = matplotlib.colormaps[colour_map](np.linspace(0, 1, stops))[:, :3]
    return f"linear-gradient(90deg,{','.join(matplotlib.colors.to_hex(colour) for colour in colours)})"
