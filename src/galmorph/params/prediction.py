"""How `galmorph predict` answers many images."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from galmorph.errors import ParamsError
from galmorph.params.acquisition import CutoutsParams, Patterns
from galmorph.params.base import Positive, Section


class StreamParams(Section):
    """How images stream from files to answers; see `galmorph.edge.predicting`.

    Attributes
    ----------
    batch
        Images that the model is given at a time.
    decoders
        Threads that read, decode and prepare images; None: as many as there are cores.
    ahead
        Images that are read or waiting ahead of the model, at most.
    part
        Images after which a part is written: what an interruption costs, at most.
    """

    batch: Positive
    decoders: Positive | None
    ahead: Positive
    part: Positive


class PredictParams(Section):
    """What `galmorph predict` needs of params.yaml; `predict_values` picks it.

    Attributes
    ----------
    predict
        The section.
    patterns
        `acquire.archive.patterns`: what an image is called.
    max_pixels
        `acquire.max_pixels`: a larger image is not decoded.
    bands
        `acquire.cutouts`: `columns.id` is the catalogue's column of ids; the rest says how bands become a colour image,
        where an image is FITS.
    min_side
        `validate.min_side`: a smaller image would have been quarantined, and is not answered.
    cache, precision, threads, near_threshold
        Of `serve`, so that the service and the table agree.
    """

    predict: StreamParams
    patterns: Patterns
    max_pixels: Positive
    bands: CutoutsParams
    min_side: Positive
    cache: str
    precision: Literal["auto", "f32", "bf16"]
    threads: Positive | None
    near_threshold: Annotated[float, Field(ge=0, lt=0.5)]


def predict_values(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Pick what `PredictParams` is made of from the content of params.yaml.

    Parameters
    ----------
    values
        Unchecked.
    source
        Its name, for the message.

    Raises
    ------
    ParamsError
        When a section or a key is missing.
    """
    try:
        acquire, serve = values["acquire"], values["serve"]
        return {
            "predict": values["predict"],
            "patterns": acquire["archive"]["patterns"],
            "max_pixels": acquire["max_pixels"],
            "bands": acquire["cutouts"],
            "min_side": values["validate"]["min_side"],
            **{name: serve[name] for name in ("cache", "precision", "threads", "near_threshold")},
        }
    except (KeyError, TypeError) as error:
        raise ParamsError(
            f"{source}: missing key. Give a params.yaml of galmorph with --params. Received: no {error}"
        ) from error
