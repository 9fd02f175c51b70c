"""A galaxy with its answer and its explanations: what pictures, sheets and reports are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:  # which imports TensorFlow; pictures do not need it
    from galmorph.explain.base import Explainer

#: What each kind of the sample is called on a page.
KINDS = {
    "named": "asked for by name",
    "indexed": "asked for by place",
    "most_wrong": "confident and wrong",
    "borderline": "near even odds",
    "most_confident": "confident and right",
    "random": "drawn at random",
}
#: Size of a logit from which the probability's own gradient, p(1 - p), is below 1e-4: a map of that gradient would be
#: flat to the eye.
_SATURATED = 9.2


@dataclass(frozen=True)
class AboutMethod:
    """What an explanation method says of itself; see `galmorph.explain.base.Explainer`."""

    name: str
    title: str
    meaning: str
    signed: bool
    classless: bool

    @classmethod
    def of(cls, explainer: "Explainer") -> Self:
        """Ask an explainer."""
        return cls(explainer.name, explainer.title, explainer.meaning, explainer.signed, explainer.classless)


@dataclass(frozen=True)
class MethodMap:
    """What one method says of one galaxy.

    Attributes
    ----------
    attribution
        `(S, S)` float32 of what the model saw, for the predicted class.
    facts
        What the method measured on the way, as `Attributions.facts` for this one galaxy.
    """

    about: AboutMethod
    attribution: np.ndarray
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw: zero everywhere or, where negative values mean nothing, nothing above."""
        return not bool(self.attribution.any() if self.about.signed else (self.attribution > 0).any())

    def notes(self, target: str) -> tuple[str, ...]:
        """Say what a reader must know before reading the map for the class `target`."""
        said = []
        if self.empty:
            said.append("the map is empty" if self.about.classless else f"nothing here speaks for {target}")
        elif self.about.signed and not self.about.classless and not (self.attribution > 0).any():
            said.append(f"all of it speaks against {target}")
        if not self.facts.get("converged", True):
            off = f" by {abs(self.facts['convergence_delta']):.2g} logit" if "convergence_delta" in self.facts else ""
            steps = f" after {self.facts['steps']:.0f} steps" if "steps" in self.facts else ""
            said.append(f"not converged: the map's sum is off{off}{steps}")
        if "r2" in self.facts:
            said.append(f"R² of the fit {self.facts['r2']:.2f} (1 is perfect)")
        if not self.facts.get("galaxy_found", True):
            said.append("no galaxy found: rings about the centre of the image")
        return tuple(said)


@dataclass(frozen=True)
class Activation:
    """What a layer makes of the image: `(h, w)` float, the mean over its filters."""

    layer: str
    values: np.ndarray


@dataclass(frozen=True)
class Explained:
    """A galaxy, the model's answer and its explanations.

    Attributes
    ----------
    label
        What the catalogue says; None where it says nothing.
    logit
        As it left the network.
    chosen_as
        A key of `KINDS`.
    image
        `(H, W, 3)` uint8, the full cutout as the astronomer knows it.
    blank_channel
        Letters of the channels without content, as the manifest has them; empty: none.
    maps
        In the order of the page; the first is the one that is laid over the cutout.
    activations
        Of the layers to be shown beside the maps.
    """

    cataid: str
    label: str | None
    predicted: str
    p_elliptical: float
    logit: float
    chosen_as: str
    image: np.ndarray
    blank_channel: str
    maps: tuple[MethodMap, ...]
    activations: tuple[Activation, ...]

    @property
    def right(self) -> bool | None:
        """Whether the answer agrees with the catalogue; None where the catalogue says nothing."""
        return None if self.label is None else self.label == self.predicted

    def notes(self) -> tuple[str, ...]:
        """Say what a reader must know of the galaxy before reading any map of it."""
        said = []
        if abs(self.logit) >= _SATURATED:
            said.append(f"|logit| {abs(self.logit):.0f}: probability gradients vanish, so logits are explained")
        if self.blank_channel:
            count = "channel is" if len(self.blank_channel) == 1 else "channels are"
            said.append(f"the {', '.join(self.blank_channel.upper())} {count} blank: there is no light to see in it")
        return tuple(said)
