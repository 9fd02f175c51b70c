"""What a study found: a table, figures, and the best values as a profile."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from galmorph import params as p
from galmorph import storage
from galmorph.edge.study import TRIAL_RUN_ID, WORKER, shown
from galmorph.edge.study_work import FOLDER, Work
from galmorph.errors import TuningError
from galmorph.evaluation.tuning import study_figures
from galmorph.models import tune as core
from galmorph.models.sampler import ATTEMPT, ERROR


def report(work: Work, study: optuna.Study) -> str:
    """Write what a study found into `tuning/` and the active MLflow run.

    Returns
    -------
    str
        The same in words.

    Raises
    ------
    TuningError
        When every trial failed.
    """
    trials = trials_table(study, work.space)
    written = [FOLDER / "trials.csv"]
    storage.write_table(written[0], trials)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    title = f"study {study.study_name}: {work.tune.experiment}, {len(complete)} of {len(trials)} trials completed"
    if len(trials):
        figures = study_figures(trials, work.space, work.tune.metric, importances(study), title)
        written += [_write_figure(name, figure) for name, figure in figures.items()]
    if complete:
        written.append(FOLDER / "best.yaml")
        storage.write_text(written[-1], _best_text(work, study, len(complete), len(trials)))
        mlflow.log_metrics({"best_value": study.best_value, "best_trial": float(study.best_trial.number)})
    for path in written:
        mlflow.log_artifact(str(path), "tuning")
    if not complete:
        errors = [str(trial.user_attrs[ERROR]) for trial in study.trials if ERROR in trial.user_attrs]
        if errors:
            raise TuningError(
                f"no trial of the study {study.study_name!r} could be completed: see {written[0]}, and change "
                f"tune.space or the experiment. Received: {errors[-1]}"
            )
        return f"the study {study.study_name} is ready in {shown(work.url)}, no trial is completed yet"
    return (
        f"trial {study.best_trial.number} of {len(trials)} is the best: validation {work.tune.metric} "
        f"{study.best_value:.4f}\n`galmorph profile {FOLDER / 'best.yaml'}` gives {work.tune.experiment} its values; "
        f"what was found is in {FOLDER}"
    )


def trials_table(study: optuna.Study, space: Mapping[str, p.Search]) -> pd.DataFrame:
    """Return a row for each trial that was begun.

    Returns
    -------
    pandas.DataFrame
        `number`, `state`, `value` (the metric; of a pruned trial, the last epoch's), a column for each searched key,
        `seconds`, and `worker`, `sampler_seed`, `attempt`, `run_id` and `error` (of its own, where it had one).
    """
    rows = [_trial_row(trial, space) for trial in study.get_trials(deepcopy=False) if trial.datetime_start]
    attributes = ["seconds", "worker", "sampler_seed", "attempt", "run_id", "error"]
    return pd.DataFrame(rows, columns=["number", "state", "value", *space, *attributes])


def _trial_row(trial: FrozenTrial, space: Mapping[str, p.Search]) -> dict[str, Any]:
    found = trial.user_attrs
    pruned = trial.intermediate_values[trial.last_step] if trial.last_step is not None else None
    ended = trial.duration
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value if trial.state == TrialState.COMPLETE else pruned,
        **{key: core.tidy(trial.params.get(key)) for key in space},
        "seconds": round(ended.total_seconds(), 1) if ended is not None else None,
        "worker": found.get(WORKER),
        "sampler_seed": found.get("sampler_seed"),
        "attempt": found.get(ATTEMPT, 1),
        "run_id": found.get(TRIAL_RUN_ID),
        "error": found.get(ERROR),
    }


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of each key in what makes completed trials differ (PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255).

    Empty where there are too few trials, or all came out the same.
    """
    values = {trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    if len(values) < 2:
        return {}
    return dict(optuna.importance.get_param_importances(study))


def _write_figure(name: str, figure: Figure) -> Path:
    path = FOLDER / f"{name}.png"
    with storage.replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path


def _best_text(work: Work, study: optuna.Study, complete: int, begun: int) -> str:
    best = study.best_trial
    profile = core.best_profile(work.given["experiments"], work.tune.experiment, best.params)
    lines = [
        f"The values of trial {best.number}, the best of {complete} completed and {begun} begun trials of the study",
        f"{study.study_name!r} in {shown(work.url)}.",
        f"Validation {work.tune.metric}: {study.best_value:.6g}. It chose these values, so it flatters them;",
        "it is not the test. Train and evaluate the experiment for that.",
        f"`galmorph profile {FOLDER / 'best.yaml'}` replaces the table of experiments by this one, which is that of",
        f"{work.source} with the row {work.tune.experiment} changed.",
    ]
    if best.params.get(core.VARIANT, work.params.experiment.variant) != work.params.experiment.variant:
        lines.append("The row is trained on another variant now: its name is yours to change.")
    written = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    yaml.dump(profile, written)
    return "".join(f"# {line}\n" for line in lines) + written.getvalue()
