"""The study in its database: made once, joined by workers, and held to what it was made for."""

import contextlib
import logging
import os
import socket
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from galmorph.errors import TuningError
from galmorph.models.sampler import ATTEMPT, SeededTPE, pruner, was_cut_short
from galmorph.models.tune import differences
from galmorph.params import TuneParams

log = logging.getLogger(__name__)

#: Attributes of the study: what it was made for, and the MLflow run that its trials are children of.
IDENTITY, RUN_ID = "made_for", "run_id"
#: Attributes of a trial: its MLflow run, and the process that runs it.
TRIAL_RUN_ID, WORKER = "run_id", "worker"
#: How MLflow calls a run that came to such an end; as its own Optuna storage has it.
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
_POSTGRESQL = "postgresql+psycopg"
_REMEDY = "check tune.storage, and that the database answers and lets this user make tables"


def worker_name() -> str:
    """Name this process: its machine, and its number there."""
    return f"{socket.gethostname()}:{os.getpid()}"


def counted(study: optuna.Study) -> int:
    """Count the trials that came to an end by themselves: finished, pruned or failed."""
    return sum(trial.state.is_finished() and not was_cut_short(trial) for trial in study.get_trials(deepcopy=False))


def running(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are under way, or whose process died."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def database(storage: str) -> URL:
    """Read a storage's URL; PostgreSQL gets the driver that galmorph requires.

    Raises
    ------
    TuningError
        When it is not the URL of a database that is supported.
    """
    try:
        url = make_url(storage)
    except ArgumentError:
        url = None
    if url is not None and url.drivername in ("postgresql", "postgres", _POSTGRESQL):
        return url.set(drivername=_POSTGRESQL)
    # Not shown: a URL may hold a password.
    kind = url.drivername if url is not None else "something that is not a URL"
    if url is None or url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        raise TuningError(
            "tune.storage must be sqlite:///FILE for one worker, or postgresql://USER@HOST/DATABASE for several. "
            f"Received: {kind}"
        )
    return url


def shown(url: URL) -> str:
    """Return a URL as text, without its password."""
    return url.render_as_string(hide_password=True)


@contextlib.contextmanager
def leading(url: URL, study: str) -> Iterator[None]:
    """Be the one process that makes, leads and reports on a study, until the block or the process ends.

    Two that make tables in an empty database at once would collide, and SQLite is for one worker in any case.

    Raises
    ------
    TuningError
        When another process leads it, or the database cannot be used.
    """
    with _file_lock(url) if url.get_backend_name() == "sqlite" else _advisory_lock(url, study):
        yield


@contextlib.contextmanager
def _file_lock(url: URL) -> Iterator[None]:
    file = Path(str(url.database))
    file.parent.mkdir(parents=True, exist_ok=True)
    # SQLite's own lock on a file beside it: let go by the system whenever the process ends, on every platform.
    lock = sqlite3.connect(file.with_name(f".{file.name}.lock"), timeout=0)
    with contextlib.closing(lock):
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise TuningError(f"{_sqlite_is_for_one(url)} Received: another `galmorph tune` is at work") from error
        yield


@contextlib.contextmanager
def _advisory_lock(url: URL, study: str) -> Iterator[None]:
    """Hold PostgreSQL's lock of the study's name: let go by the server when the connection ends."""
    with named_database_errors(url, _REMEDY):
        connection = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()
        held = connection.execute(text("SELECT pg_try_advisory_lock(hashtext(:study))"), {"study": study}).scalar()
    with contextlib.closing(connection):
        if not held:
            raise TuningError(
                f"{shown(url)}: another `galmorph tune` leads the study {study!r}. Join it with --worker. "
                "Received: no --worker"
            )
        yield


@contextlib.contextmanager
def named_database_errors(url: URL, remedy: str) -> Iterator[None]:
    """Turn the errors of a database and its driver into a `TuningError` without a password."""
    try:
        yield
    except (NoSuchModuleError, ImportError) as error:
        raise TuningError(
            f"{shown(url)}: the database's driver is missing. Install psycopg. Received: {error}"
        ) from error
    except (KeyError, SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise TuningError(f"{shown(url)}: {remedy}. Received: {_plain(error)}") from error


def refuse_workers_on_sqlite(url: URL) -> None:
    """Refuse a second worker on a database that cannot take two.

    Raises
    ------
    TuningError
        When it is SQLite.
    """
    if url.get_backend_name() == "sqlite":
        raise TuningError(f"{_sqlite_is_for_one(url)} Received: --worker")


def _sqlite_is_for_one(url: URL) -> str:
    return (
        f"{shown(url)}: SQLite is for one worker at a time. For several, give all of them one PostgreSQL database: "
        "--storage postgresql://USER@HOST/DATABASE (docs/tuning.md says how to get one)."
    )


def open_study(tune: TuneParams, url: URL, epochs: int, create: bool) -> optuna.Study:
    """Connect to the study; make it where `create` allows.

    Parameters
    ----------
    tune
        What it is called, and how it samples and prunes.
    url
        Of its database.
    epochs
        Of a trial that is not pruned.
    create
        Whether tables and study are made when they are missing: by one process only, before the others come.

    Raises
    ------
    TuningError
        When the database cannot be used, or holds no such study.
    """
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    # It prints a traceback of every failure that is passed over; `edge.trials` says in a line what went wrong.
    logging.getLogger("optuna.study._optimize").setLevel(logging.ERROR)
    sampler = SeededTPE(tune.seed, tune.startup_trials)
    join = (
        f"there must be a study {tune.study!r}: start `galmorph tune` (or `galmorph tune --trials 0`) first, and its "
        "workers when it is at work"
    )
    with named_database_errors(url, _REMEDY if create else join):
        storage = _storage(tune, url, create)
        if not create:
            return optuna.load_study(
                study_name=tune.study, storage=storage, sampler=sampler, pruner=pruner(tune, epochs)
            )
        return optuna.create_study(
            storage=storage,
            study_name=tune.study,
            direction="minimize" if tune.metric == "loss" else "maximize",
            sampler=sampler,
            pruner=pruner(tune, epochs),
            load_if_exists=True,
        )


def _storage(tune: TuneParams, url: URL, create: bool) -> optuna.storages.RDBStorage:
    alone = url.get_backend_name() == "sqlite"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the heartbeat
        return optuna.storages.RDBStorage(
            url.render_as_string(hide_password=False),
            # Nothing is asked for during minutes of training: no connection is kept that might go stale.
            engine_kwargs={"poolclass": NullPool},
            heartbeat_interval=None if alone else tune.heartbeat.interval,
            grace_period=None if alone else tune.heartbeat.grace,
            heartbeat_stale_trial_callback=lambda study, trial: give_up(study, trial, tune.retries),
            skip_table_creation=not create,
        )


def claim(study: optuna.Study, identity: Mapping[str, str], start: Mapping[str, Any]) -> None:
    """Write down what a new study is for, and queue the experiment as it is as its first trial.

    Raises
    ------
    TuningError
        When the study was made for something else.
    """
    if IDENTITY not in study.user_attrs:
        if start:
            study.enqueue_trial(dict(start), skip_if_exists=True)
        study.set_user_attr(IDENTITY, dict(identity))
    check_identity(study, identity)


def check_identity(study: optuna.Study, identity: Mapping[str, str]) -> None:
    """Refuse a study whose trials would not be comparable with new ones.

    Raises
    ------
    TuningError
        Naming each key that differs.
    """
    found = differences(study.user_attrs.get(IDENTITY, {}), identity)
    if found:
        raise TuningError(
            f"the study {study.study_name!r} was made for something else, its trials cannot be compared with new ones. "
            "Give the new one a name of its own (tune.study), or delete the old one (`optuna delete-study`). "
            f"Received: {'; '.join(found)}"
        )


def give_up(study: optuna.Study, trial: FrozenTrial, retries: int) -> None:
    """End the MLflow run of a trial whose process died, and queue its values again."""
    attempt = int(trial.user_attrs.get(ATTEMPT, 1))
    again = attempt <= retries and bool(trial.params)
    log.warning("trial %d was cut short and is marked FAIL%s", trial.number, "; it is run again" if again else "")
    if again:
        study.enqueue_trial(trial.params, user_attrs={ATTEMPT: attempt + 1})
    run_id = trial.user_attrs.get(TRIAL_RUN_ID)
    if run_id:
        end_run(run_id, TrialState.FAIL)


def end_run(run_id: str, state: TrialState) -> None:
    """End the MLflow run of a trial, and tag it with the trial's state."""
    # The trial is what counts: a store that lost its run, or does not answer now, must not hide how it ended.
    with contextlib.suppress(MlflowException):
        MlflowClient().set_tag(run_id, "state", state.name)
        MlflowClient().set_terminated(run_id, _STATUS[state])


def give_up_own(study: optuna.Study, retries: int) -> None:
    """Queue the trial of this process again that it leaves unfinished: Optuna has marked it FAIL."""
    own = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get(WORKER) == worker_name()]
    if own and was_cut_short(own[-1]):
        give_up(study, own[-1], retries)


def give_up_dead_trials(study: optuna.Study, url: URL, retries: int) -> None:
    """Mark trials as failed whose process died: by their heartbeat, or all that run where only one worker can."""
    if url.get_backend_name() == "sqlite":
        for trial in running(study):
            study.tell(trial.number, state=TrialState.FAIL)
            give_up(study, trial, retries)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def _plain(error: BaseException) -> str:
    """Return the first line of the innermost message: SQLAlchemy adds the statement and a link."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
