"""The study's database: who may use it, and what it holds studies to."""

import logging
import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState

from galmorph.edge import study as studies
from galmorph.edge.study_work import checked_work
from galmorph.errors import ParamsError, TuningError
from galmorph.models.sampler import ERROR
from galmorph.models.tune import differences
from galmorph.params import with_overrides
from galmorph.storage import write_json


@pytest.fixture
def url(tmp_path):
    return studies.database(f"sqlite:///{tmp_path}/tuning/study.db")


@pytest.fixture
def study(params, url):
    with studies.leading(url, "x"):
        yield studies.open_study(params.tune, url, epochs=5, create=True)


def test_postgresql_gets_its_driver_and_hides_its_password():
    for text in ("postgresql://me:secret@db/x", "postgresql+psycopg://me:secret@db/x"):
        found = studies.database(text)
        assert found.drivername == "postgresql+psycopg"
        assert "secret" not in studies.shown(found)


@pytest.mark.parametrize("storage", ["study.db", "mysql://me:secret@db/x", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(storage):
    with pytest.raises(TuningError, match=r"sqlite:///FILE.*postgresql://") as error:
        studies.database(storage)
    assert "secret" not in str(error.value)


def test_sqlite_is_for_one_worker_at_a_time(url):
    busy = pytest.raises(TuningError, match=r"one worker at a time.*PostgreSQL.*Received: another")
    with studies.leading(url, "x"), busy, studies.leading(url, "x"):
        pass
    with studies.leading(url, "x"):  # let go
        pass
    with pytest.raises(TuningError, match=r"PostgreSQL.*--worker"):
        studies.refuse_workers_on_sqlite(url)


def test_a_lock_ends_with_its_process(url, tmp_path):
    script = (
        "import sys, os, signal; from galmorph.edge import study as s\n"
        "with s.leading(s.database(sys.argv[1]), 'x'): print('held', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    held = subprocess.run(
        [sys.executable, "-c", script, url.render_as_string()], capture_output=True, text=True, check=False
    )
    assert held.stdout == "held\n"
    with studies.leading(url, "x"):
        pass


def test_errors_in_the_block_are_not_the_locks(url):
    import sqlite3

    with pytest.raises(sqlite3.OperationalError, match="mine"), studies.leading(url, "x"):
        raise sqlite3.OperationalError("mine")


def test_a_worker_does_not_make_the_study(params, url):
    with studies.leading(url, "x"), pytest.raises(TuningError, match=r"there must be a study 'galmorph': start"):
        studies.open_study(params.tune, url, epochs=5, create=False)


def test_a_study_of_another_name_is_not_this_one(params, url, study):
    other = params.tune.model_copy(update={"study": "other"})
    with pytest.raises(TuningError, match="there must be a study 'other'"):
        studies.open_study(other, url, epochs=5, create=False)
    assert studies.open_study(params.tune, url, epochs=5, create=False).study_name == study.study_name


def test_a_database_that_does_not_answer_is_said(params):
    url = studies.database("postgresql://me:secret@127.0.0.1:9/x")
    with pytest.raises(TuningError, match=r"me:\*\*\*@127.0.0.1:9/x: check tune.storage") as error:
        studies.open_study(params.tune, url, epochs=5, create=True)
    assert "secret" not in str(error.value)
    with pytest.raises(TuningError, match=r"check tune\.storage") as error, studies.leading(url, "x"):
        pass
    assert "secret" not in str(error.value)


def test_the_direction_is_the_metrics(params, url, study):
    assert study.direction.name == "MINIMIZE"
    accuracy = params.tune.model_copy(update={"metric": "accuracy", "study": "accuracy"})
    assert studies.open_study(accuracy, url, epochs=5, create=True).direction.name == "MAXIMIZE"


def test_a_study_is_claimed_once_and_held_to_it(study):
    studies.claim(study, {"space.x": "1", "metric": "loss"}, {"x": 0.5})
    studies.claim(study, {"space.x": "1", "metric": "loss"}, {"x": 0.5})
    (first,) = study.trials
    assert first.state == TrialState.WAITING
    with pytest.raises(TuningError, match=r"name of its own \(tune.study\).*Received: space.x: 1 there, 2 here; spa"):
        studies.claim(study, {"space.x": "2", "metric": "loss", "space.y": "3"}, {})
    assert len(study.trials) == 1


def test_a_claim_that_was_interrupted_is_made_whole(study):
    study.enqueue_trial({"x": 0.5})
    studies.claim(study, {"metric": "loss"}, {"x": 0.5})
    assert len(study.trials) == 1


def test_a_dead_trial_fails_and_is_run_again_as_often_as_is_asked(study, url, caplog):
    study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    values = study.trials[0].params
    for retries, waiting in ((1, 1), (1, 0)):
        with caplog.at_level(logging.WARNING):
            studies.give_up_dead_trials(study, url, retries)
        assert study.trials[-1 - waiting].state == TrialState.FAIL
        assert len(study.get_trials(states=(TrialState.WAITING,))) == waiting
        if waiting:
            assert study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params == values
    assert "trial 1 was cut short and is marked FAIL" in caplog.text
    assert studies.counted(study) == 0


def test_what_an_interrupted_worker_leaves_is_queued_again(study):
    def interrupted(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr(studies.WORKER, studies.worker_name())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(interrupted, n_trials=1)
    studies.give_up_own(study, retries=1)
    failed, again = study.trials
    assert (failed.state, again.state) == (TrialState.FAIL, TrialState.WAITING)
    assert study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params == failed.params


def test_trials_that_failed_by_themselves_count(study):
    trial = study.ask()
    trial.set_user_attr(ERROR, "no")
    study.tell(trial, state=TrialState.FAIL)
    study.tell(study.ask(), 0.5)
    study.ask()
    assert studies.counted(study) == 2
    assert len(studies.running(study)) == 1


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("tune.experiment=resnet51", r"tune.experiment must be a row of experiments: .*regularised_cnn_raw"),
        ("tune.space.train.scratch.learning_rate={low: 0.0, high: 1.0, log: false}", "learning_rate at 0.0"),
        ("tune.space.train.scratch.rate={choices: [1, 2]}", "rate: unknown key"),
    ],
)
def test_wrong_values_stop_before_a_study_is_touched(values, tmp_path, monkeypatch, assignment, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=message):
        checked_work(with_overrides(values, [assignment]), "params.yaml")
    assert list(tmp_path.iterdir()) == []


def test_a_space_that_the_experiment_uses_nothing_of_is_refused(values):
    given = {**values, "tune": {**values["tune"], "space": {"train.vit.dropout": {"choices": [0.1, 0.2]}}}}
    with pytest.raises(ParamsError, match=r"no key that regularised_cnn_raw uses\. Received: train.vit.dropout"):
        checked_work(given, "params.yaml")


def test_changed_weights_in_the_home_folder_are_another_study(values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variant in ("raw", *values["denoise"]):
        write_json(tmp_path / f"data/variants/{variant}.json", {"digest": "digest"})
    (tmp_path / "data/splits.parquet").write_bytes(b"splits")
    changes = ["tune.experiment=resnet50_finetune_raw", "train.transfer.weights=~/x.h5"]
    work = checked_work(with_overrides(values, changes), "params.yaml")
    (tmp_path / "x.h5").write_bytes(b"weights")
    before = work.identity()
    assert work.identity() == before
    (tmp_path / "x.h5").write_bytes(b"others")
    assert differences(before, work.identity())[0].startswith("data.weights: ")


@pytest.mark.parametrize(("weights", "phases"), [("none", ["finetune"]), ("imagenet", ["frozen", "finetune"])])
def test_the_epochs_of_a_trial_are_those_of_the_phases_that_are_run(values, weights, phases):
    """Hyperband shares them out; a phase that is passed over has none."""
    changes = ["tune.experiment=resnet50_finetune_raw", f"train.transfer.weights={weights}"]
    work = checked_work(with_overrides(values, changes), "params.yaml")
    train = work.params.train.model_dump()
    assert work.epochs == sum(train[phase]["epochs"] for phase in phases)


def test_what_is_passed_over_is_said(values, caplog):
    with caplog.at_level(logging.INFO):
        work = checked_work(values, "params.yaml")
    assert "train.finetune.unfrozen" not in work.space
    assert "does not use" in caplog.text
    assert "train.finetune.unfrozen" in caplog.text
