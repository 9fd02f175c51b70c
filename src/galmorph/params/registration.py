"""The gate between a registered version and the alias that is served."""

from typing import Annotated, Literal

from pydantic import Field

from galmorph.params.base import Positive, Section, Share
from galmorph.params.evaluation import Confidence, RegisterParams
from galmorph.params.explanation import ExplainParams, Method

#: What `galmorph explain` holds each method against; see `explanations/<experiment>/faithfulness.json`.
ExplanationCheck = Literal["randomisation", "deletion", "insertion", "on_galaxy"]


class RegisterStageParams(Section):
    """What `galmorph register` needs: the registered model draws its heat maps as `explain` does."""

    register_: Annotated[RegisterParams, Field(alias="register")]
    explain: ExplainParams


class SliceGate(Section):
    """Which slices may be answered worse than the rest.

    Attributes
    ----------
    exempt
        Groups that are not looked at.
    max_gap
        How far the accuracy of a slice that is significantly worse may lie below that of all other galaxies.
    """

    exempt: tuple[str, ...]
    max_gap: Share


class ExplanationGate(Section):
    """Which explanations must have passed which checks.

    Attributes
    ----------
    methods
        Those of them that the architecture allows; one at least.
    checks
        By every one of these methods.
    undecided
        Whether a check that the galaxies did not decide stands in the way.
    """

    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    checks: tuple[ExplanationCheck, ...]
    undecided: Literal["allowed", "refused"]


class PromoteParams(Section):
    """What a version must show to become the champion; see `galmorph.promotion.decision`.

    Attributes
    ----------
    alias
        What the promoted version is called.
    reports
        Artifacts that its run must hold.
    min_accuracy
        Below the accuracy's interval on test.
    max_calibration_error
        Above the interval of the expected calibration error.
    confidence
        Of the test against the champion.
    min_galaxies
        Galaxies of the candidate's test split that the champion was not trained on and has answered, at least.
    """

    alias: Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")]
    reports: tuple[str, ...]
    min_accuracy: Share
    max_calibration_error: Share
    confidence: Confidence
    min_galaxies: Positive
    slices: SliceGate
    explanations: ExplanationGate
