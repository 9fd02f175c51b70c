"""A stage of `STAGES` on artifacts, and the check of a run's values before anything starts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from galmorph import params as p
from galmorph.cluster.artifacts import Artifact, deliver, restore
from galmorph.cluster.process import check_tracking, component
from galmorph.cluster.values import meant
from galmorph.cluster.views import show
from galmorph.errors import ParamsError
from galmorph.stage import Stage, placed, stage_values
from galmorph.stages import STAGES

#: What values are called in messages: they come as parameters of a run, not from a file.
SOURCE = "the run's parameters"
#: Stages that log to MLflow.
_TRACKED = frozenset({"train", "evaluate", "register"})


def check_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check all values of a run together, and return them.

    Parameters
    ----------
    values
        Each section of params.yaml under its name.
    """
    with component("check"):
        p.check(meant(values), SOURCE)
        return dict(values)


def experiment_rows(experiments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the experiments for a loop.

    Returns
    -------
    list of dict
        Of each, `experiment`, its `variant`, and as `experiments` the table with its row alone: another row's change
        is no reason to train it again.
    """
    with component("experiments"):
        rows = {
            name: p.checked(p.ExperimentParams, row, f"{SOURCE}: experiments.{name}")
            for name, row in meant(experiments).items()
        }
        return [
            {"experiment": name, "variant": row.variant, "experiments": {name: experiments[name]}}
            for name, row in rows.items()
        ]


def collect_variants(parts: Iterable[Artifact], variants: Artifact) -> None:
    """Put the images and cards of all variants into one artifact: a loop cannot be handed what another one made.

    Parameters
    ----------
    parts
        What `validate` and `denoise` made.
    variants
        To be filled.
    """
    with component("collect_variants") as folder:
        restore(parts, folder)
        deliver(Path(STAGES["explain"].inputs["variants"]), variants)


def run_stage(
    name: str,
    inputs: Iterable[Artifact],
    outputs: Mapping[str, Artifact],
    values: Mapping[str, Any],
    *,
    row: str = "",
    variant: str = "",
    views: Mapping[str, Artifact] | None = None,
) -> None:
    """Run a stage on artifacts.

    Parameters
    ----------
    name
        Of the stage.
    inputs
        What it reads.
    outputs
        An artifact for each of its outputs.
    values
        The sections of params.yaml that it takes, each whole and under its name.
    row
        The variant or experiment, where the stage has one.
    variant
        That of the experiment.
    views
        Further artifacts, which show something of what was made; see `views.VIEWS`.

    Raises
    ------
    SystemExit
        With the message of whatever `GalmorphError` was raised.
    """
    stage = STAGES[name]
    with component(f"{name}/{row}" if row else name) as folder:
        if name in _TRACKED:
            check_tracking()
        params = _params(stage, values, row)
        restore(inputs, folder)
        places = placed(stage, row, variant or row)
        stage.run(**places, **({"each": row} if stage.each else {}), params=params)
        for key, artifact in outputs.items():
            deliver(places[key], artifact)
        for view, artifact in (views or {}).items():
            show(view, places, artifact)


def _params(stage: Stage, values: Mapping[str, Any], row: str) -> Any:
    try:
        own = stage_values(stage, meant(values), row)
    except KeyError as error:
        raise ParamsError(
            f"{SOURCE}: no row or section {error}, of {', '.join(stage.sections)}. Received: {', '.join(values)}"
        ) from error
    sections = ", ".join(stage.sections).format(variant=row, experiment=row)
    return p.checked(stage.params, own, f"{SOURCE}: {sections}")
