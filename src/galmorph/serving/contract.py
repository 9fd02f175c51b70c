"""What the service answers, as OpenAPI shows it."""

from typing import Annotated

from pydantic import BaseModel, Field

from galmorph.params import Label
from galmorph.serving.refusals import Reason

Probability = Annotated[float, Field(ge=0, le=1)]
Picture = Annotated[str, Field(description="A data URL of a PNG.")]


class Model(BaseModel):
    """The model that answered."""

    name: Annotated[str, Field(description="Registered model and version.")]
    experiment: str
    architecture: str
    variant: Annotated[str, Field(description="`raw`, or the denoiser that its images go through.")]
    threshold: Annotated[float, Field(description="From this `p_elliptical` up the answer is Elliptical.")]
    heat_maps: Annotated[bool, Field(description="Whether it gives live heat maps.")]
    data_digest: Annotated[str, Field(description="Of the galaxies that it learned from.")]
    model_digest: str


class ModelDetails(Model):
    """The champion, and what there is to see of it."""

    created: Annotated[str, Field(description="ISO 8601, UTC.")]
    since: Annotated[str, Field(description="When it took over in this process. ISO 8601, UTC.")]
    galmorph: str
    precision: str
    image_size: int
    crop: Annotated[float, Field(description="Centred share of a cutout that it sees.")]
    temperature: float
    params_digest: str
    git_commit: str | None
    run_id: str | None
    accuracy: float | None
    report: Annotated[str | None, Field(description="Where its explanation report is.")]
    card: Annotated[str | None, Field(description="The model card, Markdown.")]
    examples: Annotated[list[str], Field(description="Names of example cutouts, at /examples/0 and so on.")]
    problem: Annotated[str, Field(description="Why the registry's model did not take over; empty when all is well.")]


class Error(BaseModel):
    """Why a request or an image was not answered."""

    reason: Reason
    message: str


class Problem(BaseModel):
    """A request that was not answered."""

    error: Error
    request_id: str


class Answer(BaseModel):
    """The answer for one image."""

    p_elliptical: Annotated[Probability, Field(description="Calibrated.")]
    label: Label
    near_threshold: Annotated[bool, Field(description="Whether a person should look at it.")]


class Prediction(BaseModel):
    """What came of one image: an answer or an error."""

    name: str
    answer: Answer | None
    error: Error | None


class Predictions(BaseModel):
    """In the order of the images."""

    model: Model
    predictions: list[Prediction]
    request_id: str


class Part(BaseModel):
    """A part of the reasons."""

    heading: str
    text: str


class HeatMapFacts(BaseModel):
    """Where the evidence lies."""

    available: Annotated[bool, Field(description="Whether this model gives heat maps.")]
    empty: Annotated[bool, Field(description="Whether nothing in the picture speaks for the label.")]
    text: Annotated[str, Field(description="What the picture shows, or why there is none, in a sentence.")]
    layer: Annotated[Picture | None, Field(description="The map alone, transparent where the model does not look.")]
    overlay: Annotated[Picture | None, Field(description="The map over the cutout.")]
    galaxy: Annotated[Probability | None, Field(description="Share of the map on the galaxy.")]
    neighbours: Probability | None
    sky: Probability | None
    uniform: Annotated[Probability | None, Field(description="The galaxy's share of what the model sees.")]
    stability: Annotated[
        float | None,
        Field(
            ge=-1, le=1, description="Rank correlation with the maps of the turned and mirrored cutout; 1: the same."
        ),
    ]


class Explanation(BaseModel):
    """An answer with its reasons."""

    model: Model
    name: str
    answer: Answer
    explained: Annotated[Label, Field(description="The label that the heat map is for.")]
    heat_map: HeatMapFacts
    cutout: Annotated[Picture, Field(description="The cutout as it was read.")]
    reason: Annotated[str, Field(description="The reasons in one paragraph.")]
    reasons: list[Part]
    request_id: str


class State(BaseModel):
    """Whether the service lives, or is ready."""

    status: str
    message: str
