"""From the runtime's answer for one cutout to what is shown of it: texts, shares and pictures."""

import base64
from dataclasses import dataclass

import numpy as np

from galmorph.data import dataset
from galmorph.data.dataset import crop_box
from galmorph.explain.class_map import empty_text
from galmorph.explain.reason import paragraph, reasons
from galmorph.params import Label, ServiceParams
from galmorph.serving import contract
from galmorph.serving.batching import Answer
from galmorph.serving.champion import Champion
from galmorph.serving.explaining import METHOD, HeatMap, heat_map, numbers
from galmorph.serving.logs import request_id
from galmorph.serving.pictures import captioned, heat_layer, laid_over, png


@dataclass(frozen=True)
class Explained:
    """An explanation, and the picture of it: a PNG with a caption."""

    explanation: contract.Explanation
    picture: bytes


def model_of(champion: Champion) -> contract.Model:
    """Say which model answers."""
    facts = champion.runtime.facts
    return contract.Model(**{name: getattr(facts, name) for name in contract.Model.model_fields})


def answer_of(p_elliptical: float, label: Label, threshold: float, near_threshold: float) -> contract.Answer:
    """Make the answer of a probability; within `near_threshold` of the threshold it is marked."""
    near = bool(dataset.near_threshold(np.array([p_elliptical]), threshold, near_threshold)[0])
    return contract.Answer(p_elliptical=p_elliptical, label=label, near_threshold=near)


def present(
    champion: Champion, name: str, cutout: np.ndarray, answer: Answer, label: Label | None, params: ServiceParams
) -> Explained:
    """Show an answer and its reasons.

    Parameters
    ----------
    champion
        Who answered.
    name
        Of the cutout.
    cutout
        `(H, W, 3)` uint8, as it was sent.
    answer
        For `galmorph.serving.explaining.turned`, with maps where the model has any.
    label
        Which the heat map is for; None: the answer's. The reasons are always the answer's.
    params
        `serve.opacity`, `serve.near_threshold` and `blank_contrast` are used.
    """
    facts, p = champion.runtime.facts, answer.p_elliptical
    predicted = champion.runtime.labels(p[:1])[0]
    own = _drawn(champion, cutout, answer, predicted)
    explained = label or predicted
    drawn = own if explained == predicted else _drawn(champion, cutout, answer, explained)
    blank_channels = int((cutout.std((0, 1)) < params.blank_contrast).sum())
    known = numbers(p, facts.threshold, predicted, own, blank_channels, champion.accuracy, champion.verdicts)
    text = _map_text(drawn, explained, facts.architecture)
    height, width = cutout.shape[:2]
    layer = None
    if drawn is not None and not drawn.empty:
        layer = heat_layer(drawn.frame, crop_box(height, width, facts.preprocess))
    over = cutout if layer is None else laid_over(cutout, layer, params.serve.opacity)
    heading = f"{predicted}, p(Elliptical) = {p[0]:.3f}, by {facts.name} ({facts.experiment})"
    explanation = contract.Explanation(
        model=model_of(champion),
        name=name,
        answer=answer_of(float(p[0]), predicted, facts.threshold, params.serve.near_threshold),
        explained=explained,
        heat_map=contract.HeatMapFacts(
            available=drawn is not None,
            empty=drawn is not None and drawn.empty,
            text=text,
            layer=None if layer is None else _data_url(layer),
            overlay=None if layer is None else _data_url(over),
            **{share: getattr(drawn, share, None) for share in ("galaxy", "neighbours", "sky", "uniform", "stability")},
        ),
        cutout=_data_url(cutout),
        reason=paragraph(known),
        reasons=[contract.Part(heading=part.heading, text=part.text) for part in reasons(known)],
        request_id=request_id.get(),
    )
    return Explained(explanation, png(captioned(over, [heading, text])))


def _drawn(champion: Champion, cutout: np.ndarray, answer: Answer, label: Label) -> HeatMap | None:
    if answer.maps is None:
        return None
    return heat_map(cutout, answer.maps, label, champion.runtime.facts.preprocess)


def _map_text(drawn: HeatMap | None, label: Label, architecture: str) -> str:
    if drawn is None:
        return f"No live heat map is to be had from a {architecture}: it has no convolutions to make one of."
    if drawn.empty:
        return f"The heat map for {label} is empty: {empty_text(label)}."
    return f"{METHOD} for {label}: brighter is more evidence, scaled to the map's own maximum."


def _data_url(image: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"
