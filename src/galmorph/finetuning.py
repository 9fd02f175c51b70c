"""One experiment by itself: the stages from train on, for one row of `experiments`, into `runs/<id>/`.

The data come through DVC, so that they are those of the pipeline; everything else is the run's own.
"""

import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galmorph import params as p
from galmorph import storage
from galmorph.errors import ParamsError, UpstreamError
from galmorph.stage import paths, stage_values
from galmorph.stages import STAGES, run_stage

log = logging.getLogger(__name__)

RUNS = Path("runs")
#: What DVC reads.
PIPELINE_PARAMS = Path("params.yaml")
#: The first stage that is the run's own; those before it make the data.
FIRST = "train"


def finetune(values: Mapping[str, Any], source: str, experiment: str) -> str:
    """Train, evaluate, explain and register one experiment.

    A run that was interrupted is gone on with by the same call; one that was finished is made anew.

    Parameters
    ----------
    values
        The content of a whole params.yaml.
    source
        Its name, for messages.
    experiment
        A row of `experiments`; empty: the one that `default_experiment` names.

    Returns
    -------
    str
        What was made, and where it is, in words.

    Raises
    ------
    ParamsError
        When the experiment is not known, or values of the data differ from those that DVC reads.
    UpstreamError
        When DVC cannot make the data.
    """
    params = p.check(dict(values), source)
    name = experiment or default_experiment(params, source)
    if name not in params.experiments:
        raise ParamsError(f"{source}: experiments must have the row. Known: {', '.join(params.experiments)}. "
                          f"Received: {name!r}")  # fmt: skip
    check_upstream(values, p.read_values(PIPELINE_PARAMS), source)
    make_upstream(params.experiments[name].variant)
    alone = only(values, name)
    into = RUNS / identity(alone, name)
    progress = into / "progress.json"
    work = {stage: storage.fingerprint(stage_values(STAGES[stage], alone, name)) for stage in own_stages()}
    finished = storage.read_json(progress) if progress.exists() else {}
    todo = unfinished(work, finished)
    for stage in todo:
        log.info("%s: %s (%d of %d)", into, stage, list(work).index(stage) + 1, len(work))
        run_stage(stage, alone, source, name if STAGES[stage].each else "", into)
        storage.write_json(progress, {key: work[key] for key in list(work)[: list(work).index(stage) + 1]})
    made = storage.read_json(into / STAGES["register"].outputs["registration"])
    return (
        f"version {made['version']} of {made['model']} is its {made['alias']}: {name}, MLflow run {made['run_id']}\n"
        f"everything about it is in {into}"
    )


def default_experiment(params: p.Params, source: str) -> str:
    """Return the first experiment that is finetuned and may be registered.

    Raises
    ------
    ParamsError
        When there is none.
    """
    wanted = params.register_.architecture
    for name, row in params.experiments.items():
        if "finetune" in row.phases and wanted in ("any", row.architecture):
            return name
    raise ParamsError(
        f"{source}: experiments has no row with a finetune phase and the architecture {wanted} "
        f"(register.architecture); name one with --experiment. Received: {', '.join(params.experiments)}"
    )


def own_stages() -> list[str]:
    """Names of the stages that a run has to itself, in order."""
    names = list(STAGES)
    return names[names.index(FIRST) :]


def unfinished(work: Mapping[str, str], finished: Mapping[str, str]) -> list[str]:
    """Name the stages to run: from the first that was not finished with these values; all when all were.

    Parameters
    ----------
    work, finished
        Stage to a fingerprint of its values: of all stages in order, and of those that an earlier call finished.
    """
    stages = list(work)
    done = next((number for number, stage in enumerate(stages) if finished.get(stage) != work[stage]), 0)
    return stages[done:]


def check_upstream(values: Mapping[str, Any], pipeline: Mapping[str, Any], source: str) -> None:
    """Refuse values that would have to change the data: DVC makes them, from its own params.yaml."""
    names = list(STAGES)
    sections = {name.split(".")[0] for stage in names[: names.index(FIRST)] for name in STAGES[stage].sections}
    different = sorted(section for section in sections if values[section] != pipeline.get(section))
    if different:
        raise ParamsError(
            f"{source}: the data are DVC's, and it reads {PIPELINE_PARAMS}. Change {', '.join(different)} there "
            f"(`galmorph profile FILE`), not by --set or another file. Received: other values of {', '.join(different)}"
        )


def make_upstream(variant: str) -> None:
    """Let DVC make splits and images, as far as they are missing or stale."""
    command = [sys.executable, "-m", "dvc", "repro", "split", *([] if variant == "raw" else [f"denoise@{variant}"])]
    # Its reports go where ours go: standard output is for the result.
    done = subprocess.run(command, check=False, stdout=sys.stderr)  # noqa: S603 - a name from the table of variants
    if done.returncode:
        raise UpstreamError(
            f"the data could not be made; see above. Run `{' '.join(command[2:])}` by itself, in a clone that "
            f"`git` and DVC know. Received: exit status {done.returncode}"
        )


def only(values: Mapping[str, Any], experiment: str) -> dict[str, Any]:
    """Reduce values to one experiment, which may be registered whatever its architecture."""
    return {
        **values,
        "experiments": {experiment: values["experiments"][experiment]},
        "register": {**values["register"], "architecture": "any"},
    }


def identity(values: Mapping[str, Any], experiment: str) -> str:
    """Name the folder of a run: the experiment, and a hash of its data and of the values that it is trained with."""
    params = p.check(dict(values), str(PIPELINE_PARAMS))
    inputs = paths(STAGES[FIRST], params, experiment)
    card = storage.read_json(inputs["card"])["digest"]
    own = stage_values(STAGES[FIRST], values, experiment)
    return f"{experiment}-{storage.fingerprint(own, card, storage.digest_file(inputs['splits']))[:8]}"
