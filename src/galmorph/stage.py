"""What a stage is: a function with named inputs, outputs and parameters; and its paths and values for a row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galmorph import params as p

#: What everyone shares: galaxies, splits and variants.
DATA = "data"
#: Where a variant's images lie; `{variant}` stands for its name.
RAW_IMAGES = "data/raw/images"
VARIANT_IMAGES = "data/variants/{variant}"


@dataclass(frozen=True)
class Stage:
    """A stage: a function from paths and parameters to files.

    Attributes
    ----------
    run
        The function. Its keywords are `inputs`, `outputs` and `params` (and `each`, where it runs once for each row
        of a table).
    inputs, outputs
        Path of each keyword, relative to the working folder; `{variant}` and `{experiment}` stand for the row,
        `{images}` for the folder of the row's variant.
    params
        The model of what `run` gets as `params`.
    sections
        The sections of params.yaml that make `params`: one that is taken as it is, or several under their own names.
    each
        The table of params.yaml that the stage runs once for each row of: `variant` or `experiment`.
    packages
        The folders of the package whose code the stage runs, and must run again for when they change.
    through
        Inputs that DVC sees through another one: an `images` folder through the `card` that holds its digest.
    """

    run: Callable[..., None]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    params: Any
    sections: tuple[str, ...]
    packages: tuple[str, ...]
    each: str | None = None
    through: Mapping[str, str] = field(default_factory=dict)


def rows(stage: Stage, params: p.Params) -> list[str]:
    """Return the rows that a stage runs once for each of; a single empty one where there is no table."""
    tables = {"variant": list(p.DenoiseParams.model_fields), "experiment": list(params.experiments)}
    return tables[stage.each] if stage.each else [""]


def paths(stage: Stage, params: p.Params, row: str, into: Path = Path()) -> dict[str, Path]:
    """Return the path of each input and output of a stage for one row, relative to the working folder.

    `into` is the folder that all but the data lies in: models and results beside those of the pipeline.
    """
    variant = params.experiments[row].variant if stage.each == "experiment" else row
    return placed(stage, row, variant, into)


def placed(stage: Stage, row: str, variant: str, into: Path = Path()) -> dict[str, Path]:
    """Return what `paths` does, where the variant of the row is known and the rest of the values is not at hand."""
    names = placeholders(row, variant)
    found = {keyword: Path(path.format(**names)) for keyword, path in {**stage.inputs, **stage.outputs}.items()}
    return {keyword: path if path.parts[0] == DATA else into / path for keyword, path in found.items()}


def placeholders(row: str, variant: str) -> dict[str, str]:
    """Return what stands in for `{experiment}`, `{variant}` and `{images}` in a stage's paths."""
    images = RAW_IMAGES if variant == "raw" else VARIANT_IMAGES.format(variant=variant)
    return {"experiment": row, "variant": variant, "images": images}


def stage_values(stage: Stage, values: Mapping[str, Any], row: str) -> dict[str, Any]:
    """Pick a stage's values out of a whole params.yaml: one section as it is, or several under their own names."""

    def section(name: str) -> Any:
        found: Any = values
        for key in name.format(variant=row, experiment=row).split("."):
            found = found[key]
        return found

    if len(stage.sections) == 1:
        return dict(section(stage.sections[0]))
    return {name.split(".")[0] if "{" not in name else str(stage.each): section(name) for name in stage.sections}
