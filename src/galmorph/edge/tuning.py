"""A study from its parameters to its end: trials until there are enough, by one worker or several."""

import time
from collections import Counter
from collections.abc import Callable

import mlflow
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from galmorph import storage, tracking
from galmorph.edge import study as studies
from galmorph.edge.study_report import report
from galmorph.edge.study_work import SCRATCH, SPLITS, Work, sweep
from galmorph.edge.training_metrics import TrainingMonitor, served
from galmorph.errors import TrialError, TuningError
from galmorph.finetuning import PIPELINE_PARAMS, check_upstream, make_upstream
from galmorph.models import tune as core
from galmorph.params import read_values


def tune(work: Work, worker: bool, *, make_data: bool = True) -> str:
    """Run a study, or take part in one.

    Parameters
    ----------
    work
        What it is to do, from `checked_work`.
    worker
        Only run trials of a study that another process began and will report on.
    make_data
        Whether DVC makes the data that are missing or stale. Without, those that are there are what the study is of.

    Returns
    -------
    str
        What was found, and where it is, in words.

    Raises
    ------
    ParamsError
        When values of the data differ from those that DVC reads.
    UpstreamError
        When DVC cannot make the data.
    TuningError
        When the study cannot be made or joined, or no trial could be completed.
    """
    if worker:
        studies.refuse_workers_on_sqlite(work.url)
        return _take_part(work)
    with studies.leading(work.url, work.tune.study):
        if make_data:
            check_upstream(work.given, read_values(PIPELINE_PARAMS), work.source)
            for variant in work.images:
                make_upstream(variant)
        return _lead(work)


def _lead(work: Work) -> str:
    study = studies.open_study(work.tune, work.url, work.epochs, create=True)
    studies.claim(study, work.identity(), core.starting_point(work.space, work.params))
    with tracking.run(f"tune {study.study_name}", study.user_attrs.get(studies.RUN_ID)) as active:
        study.set_user_attr(studies.RUN_ID, active.info.run_id)
        _describe(work, study)
        try:
            _run_to_the_end(work, study, active.info.run_id)
        finally:
            _log_counts(study)
            ended = [trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
            sweep(ended, everything=not studies.running(study))
        return report(work, study)


def _take_part(work: Work) -> str:
    study = studies.open_study(work.tune, work.url, work.epochs, create=False)
    parent = study.user_attrs.get(studies.RUN_ID)
    if parent is None:
        raise TuningError(
            f"the study {study.study_name!r} is only being made. Start the worker again. Received: no run"
        )
    studies.check_identity(study, work.identity())
    before = len(study.get_trials(deepcopy=False))
    with served() as monitor:
        _run_trials(work, study, _objective(work, str(parent), monitor), _deadline(work), monitor)
    own = studies.worker_name()
    done = sum(trial.user_attrs.get(studies.WORKER) == own for trial in study.get_trials(deepcopy=False)[before:])
    return f"{done} trials of the study {study.study_name} were this worker's; `galmorph tune` reports on all"


def _deadline(work: Work) -> float:
    return time.monotonic() + (work.tune.timeout if work.tune.timeout is not None else float("inf"))


def _objective(work: Work, parent: str, monitor: TrainingMonitor) -> Callable[[optuna.Trial], float]:
    # Here, because it brings TensorFlow: a study that is refused, or needs no more trials, does without.
    from galmorph.edge.trials import Trials

    galaxies = storage.read_table(SPLITS)
    return Trials(
        work.given, work.tune.experiment, work.space, work.tune.metric, galaxies, work.images, parent, SCRATCH, monitor
    )


def _run_to_the_end(work: Work, study: optuna.Study, parent: str) -> None:
    """Run trials until the study has them all, those of other workers and of dead ones included."""
    deadline = _deadline(work)
    studies.give_up_dead_trials(study, work.url, work.tune.retries)
    if studies.counted(study) >= work.tune.trials:
        return
    with served() as monitor:
        objective = _objective(work, parent, monitor)
        while studies.counted(study) < work.tune.trials and time.monotonic() < deadline:
            _run_trials(work, study, objective, deadline, monitor)
            # What others have under way ends, or is given up after `heartbeat.grace` and must be made up for.
            while studies.running(study) and time.monotonic() < deadline:
                time.sleep(min(1.0, work.tune.heartbeat.interval))
                studies.give_up_dead_trials(study, work.url, work.tune.retries)


def _run_trials(
    work: Work,
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    deadline: float,
    monitor: TrainingMonitor,
) -> None:
    """Run trials while the study has room for more."""

    def full() -> bool:
        return studies.counted(study) + len(studies.running(study)) >= work.tune.trials

    def stop_when_full(study: optuna.Study, _: FrozenTrial) -> None:
        if full():
            study.stop()

    def note(study: optuna.Study, _: FrozenTrial) -> None:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = study.best_value if complete else None
        # Those at 0 too: a gauge keeps what it was told.
        counts = {state.name.lower(): 0 for state in TrialState} | _counts(study)
        monitor.studied(study.study_name, counts, work.tune.metric, best)

    left = deadline - time.monotonic()
    if left <= 0 or full():
        return
    try:
        study.optimize(
            objective,
            timeout=None if left == float("inf") else left,
            catch=(TrialError,),
            callbacks=[note, stop_when_full],
        )
    except (UpdateFinishedTrialError, ValueError) as error:
        # What a trial itself raises is a TrialError: this is Optuna's word on a trial that ended without us.
        raise TuningError(
            "this worker was silent for longer than tune.heartbeat.grace, so its trial was given up. Raise that, or "
            f"start the worker again. Received: {error}"
        ) from error
    except BaseException:
        studies.give_up_own(study, work.tune.retries)
        raise


def _describe(work: Work, study: optuna.Study) -> None:
    settings = work.tune.model_dump(mode="json", exclude={"storage", "space", "experiment", "trials", "timeout"})
    tracking.log_params({"tune": settings, "space": {key: str(search) for key, search in work.space.items()}})
    mlflow.set_tags(
        {
            "study": study.study_name,
            "tuned_experiment": work.tune.experiment,
            "storage": studies.shown(work.url),
        }
    )


def _log_counts(study: optuna.Study) -> None:
    mlflow.log_metrics({f"trials_{state}": float(count) for state, count in _counts(study).items()})


def _counts(study: optuna.Study) -> Counter[str]:
    return Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
