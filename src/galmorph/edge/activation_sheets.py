"""Pictures of activations, filter by filter."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from galmorph.edge.subject import Subject
from galmorph.errors import ModelError
from galmorph.explain.activation_sheet import activation_sheet
from galmorph.explain.activations import Activity, activations, activity, dropout_check, views
from galmorph.explain.embedding import png
from galmorph.explain.explained import Activation
from galmorph.explain.graph import convolutions
from galmorph.params import ExplainParams
from galmorph.storage import write_bytes

_log = logging.getLogger(__name__)

#: Sheets of this many galaxies are drawn.
_SHEETS = 1


def show_activations(
    folder: Path, subject: Subject, params: ExplainParams
) -> tuple[dict[str, tuple[Activation, ...]], dict[str, bytes]]:
    """Draw filters layer by layer, and find out which are dead over all the galaxies.

    Parameters
    ----------
    folder
        Filled with a sheet for each layer and galaxy.
    subject
        Model and galaxies.
    params
        Which layers, and how they are drawn.

    Returns
    -------
    activations : dict
        For each shown galaxy those of the last layers.
    sheets : dict
        Title to PNG: those of the first and the last layers, for the report.

    Raises
    ------
    ModelError
        When dropout is not off.
    """
    if not convolutions(subject.model):
        return {}, {}
    asked = params.activations
    chosen = views(subject.model, asked)
    rows = subject.to_show
    everyone = subject.prepared(subject.galaxies["CATAID"].tolist())
    check = dropout_check(subject.model, everyone[: params.batch_size], params.batch_size)
    if not check.off:
        raise ModelError(
            "activations: dropout was not off, so filters would be dark at random. Train the model again. Received: "
            f"{', '.join(check.changing) or 'answers that differ from one call to the next'}"
        )
    answered = activity(subject.model, everyone, chosen, params.batch_size)
    _log_dead(answered)
    last: dict[str, list[Activation]] = {cataid: [] for cataid in rows["CATAID"]}
    sheets: dict[str, bytes] = {}
    images = everyone[: len(rows)]
    made = activations(subject.model, images, chosen, params.batch_size)
    start = 0
    for batch in made:
        for offset, cataid in enumerate(rows["CATAID"].iloc[start : start + params.batch_size]):
            at = start + offset
            if at < _SHEETS:
                sheets |= _sheets(folder, cataid, images[at], batch, offset, answered, params)
            for view in chosen[-asked.last :] if asked.last else ():
                last[cataid].append(Activation(view.title, batch[view.layer][offset].mean(-1)))
        start += params.batch_size
    return {cataid: tuple(found) for cataid, found in last.items()}, sheets


def _sheets(
    folder: Path,
    cataid: str,
    image: np.ndarray,
    batch: Mapping[str, np.ndarray],
    offset: int,
    answered: Sequence[Activity],
    params: ExplainParams,
) -> dict[str, bytes]:
    """Draw one galaxy's filters into a file for each layer; return those of the first and the last layers."""
    drawn: dict[str, bytes] = {}
    for number, one in enumerate(answered, 1):
        figure = activation_sheet(
            image, batch[one.view.layer][offset], one, params.picture.colour_map, params.activations.filters
        )
        drawn[f"{cataid}: {one.view.title}"] = content = png(figure)
        write_bytes(folder / f"{cataid}-{number:02d}-{one.view.layer}.png", content)
    first_and_last = list(drawn)[:1] + list(drawn)[max(1, len(drawn) - params.activations.last) :]
    return {title: drawn[title] for title in first_and_last}


def _log_dead(answered: Sequence[Activity]) -> None:
    dead = {one.view.title: len(one.dead) for one in answered if one.dead}
    if dead:
        images = answered[0].images
        named = ", ".join(f"{count} of {layer}" for layer, count in dead.items())
        _log.warning("filters that are zero in all %d images: %s", images, named)
