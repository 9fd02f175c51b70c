"""How the service answers, what it refuses, and when it calls its images unlike those the model was tested on."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from galmorph.params.acquisition import CutoutsParams
from galmorph.params.base import NotNegativeFloat, Positive, PositiveFloat, Section, Share

Port = Annotated[int, Field(ge=0, le=65535)]


class BatchParams(Section):
    """How requests are answered together; see `galmorph.serving.batching`.

    Attributes
    ----------
    size
        Images of a batch, at most.
    wait
        Seconds that an image waits for others, at most; none while no other request is on its way.
    queue
        Images that may be on their way at once; who brings more is asked to come back.
    parallel
        Batches that are answered at a time.
    """

    size: Positive
    wait: NotNegativeFloat
    queue: Positive
    parallel: Positive


class LimitParams(Section):
    """What a request may cost, checked before the work is done; see `galmorph.serving.limits`.

    Attributes
    ----------
    body
        Bytes of a request.
    images
        Of a request.
    pixels
        Of an image, checked before it is decoded.
    requests
        Requests for answers at once.
    header_seconds, body_seconds, answer_seconds
        From the connection to the end of the headers, for the body, and for the answer.
    send_seconds
        For the client to take the answer.
    stop_seconds
        For requests that are under way when the service is stopped.
    retry_seconds
        What Retry-After says.
    """

    body: Positive
    images: Positive
    pixels: Positive
    requests: Positive
    header_seconds: PositiveFloat
    body_seconds: PositiveFloat
    answer_seconds: PositiveFloat
    send_seconds: PositiveFloat
    stop_seconds: Positive
    retry_seconds: Positive


class DriftParams(Section):
    """When the images of the service are compared with the reference; see `galmorph.serving.drift`.

    Attributes
    ----------
    window
        The last so many images that were measured are compared.
    min_images
        Fewer are not.
    rate
        Images a second that are measured, at most.
    seconds
        Between comparisons.
    """

    window: Positive
    min_images: Positive
    rate: PositiveFloat
    seconds: PositiveFloat

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.min_images > self.window:
            raise ValueError(f"min_images must be at most window, {self.window}. Received: {self.min_images}")
        return self


class ServeParams(Section):
    """What `galmorph serve` does.

    Attributes
    ----------
    model
        An exported folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
    cache
        Folder for models from the registry.
    precision, threads
        Of the runtime: `auto` is bf16 where the CPU has it; null takes all cores.
    host, port
        Where to listen; port 0 takes a free one.
    keys
        File of hashed API keys; null: everyone may ask.
    workers
        Processes.
    decoders
        Threads of a process that decode and prepare images.
    poll
        Seconds between looks for a new champion.
    near_threshold
        An answer with `p_elliptical` this near to the threshold is marked as one that a person should look at.
    opacity
        Of heat maps in pictures, in [0, 1].
    """

    model: str
    cache: str
    precision: Literal["auto", "f32", "bf16"]
    threads: Positive | None
    host: str
    port: Port
    keys: str | None
    workers: Positive
    decoders: Positive
    poll: PositiveFloat
    near_threshold: Annotated[float, Field(ge=0, lt=0.5)]
    opacity: Share
    batch: BatchParams
    limits: LimitParams
    drift: DriftParams

    @model_validator(mode="after")
    def _a_request_fits(self) -> Self:
        # Else a request that is allowed could never be taken.
        if self.limits.images > self.batch.queue:
            raise ValueError(
                f"limits.images must be at most batch.queue, {self.batch.queue}. Received: {self.limits.images}"
            )
        return self


class ServiceParams(Section):
    """What the service needs of params.yaml.

    Attributes
    ----------
    serve
        The section.
    bands
        `acquire.cutouts`: how bands become a colour image, where a FITS file is sent.
    min_side, blank_contrast
        Of `validate`: images that would have been quarantined are not answered.
    """

    serve: ServeParams
    bands: CutoutsParams
    min_side: Positive
    blank_contrast: NotNegativeFloat
