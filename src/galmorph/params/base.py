"""What every section of params.yaml shares: the base class, the names that sections choose from, and merging."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Label = Literal["Elliptical", "Other"]
Variant = Literal["raw", "median", "bilateral", "nlm", "tv", "wavelet"]
Architecture = Literal["baseline_cnn", "regularised_cnn", "vgg16", "resnet50", "vit"]
Phase = Literal["scratch", "frozen", "finetune"]
Band = Literal["g", "i", "H"]
#: What lies past the edge of an image: its edge pixels again, or black.
Fill = Literal["nearest", "black"]
DiscType = Literal["S0", "Sa", "Sbc", "Scd", "Im"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegativeFloat = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A part of params.yaml: frozen, and every key is known and given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def merged(base: Any, changes: Any) -> Any:
    """Lay `changes` over `base`, mapping by mapping; anything but a mapping is replaced whole."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}
