"""Trials draw by their place in the study: whoever runs them, and however often it was interrupted."""

import optuna
import pytest
from optuna.trial import TrialState

from galmorph.models.sampler import ATTEMPT, ERROR, SeededTPE, pruner, was_cut_short
from galmorph.params import HyperbandPrunerParams, MedianPrunerParams, PrunerParams

optuna.logging.set_verbosity(optuna.logging.WARNING)


def study(seed: int = 1) -> optuna.Study:
    return optuna.create_study(sampler=SeededTPE(seed, startup_trials=3))


def objective(trial: optuna.Trial) -> float:
    return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + trial.suggest_int("n", 1, 5) / 50


def drawn(study: optuna.Study) -> list[dict]:
    return [trial.params for trial in study.trials if trial.state == TrialState.COMPLETE]


def test_the_seed_decides():
    first, same, other = study(), study(), study(2)
    for each in (first, same, other):
        each.optimize(objective, n_trials=6)
    assert drawn(first) == drawn(same)
    assert drawn(first) != drawn(other)
    assert len({trial["x"] for trial in drawn(first)}) == 6


def test_a_study_in_pieces_draws_what_one_in_a_piece_does():
    whole, pieces = study(), study()
    whole.optimize(objective, n_trials=6)
    for count in (2, 1, 3):
        pieces.sampler = SeededTPE(1, startup_trials=3)  # another process
        pieces.optimize(objective, n_trials=count)
    assert drawn(whole) == drawn(pieces)


def die(study: optuna.Study) -> optuna.Trial:
    """Begin a trial that its process does not end."""
    trial = study.ask()
    objective(trial)
    study.tell(trial.number, state=TrialState.FAIL)
    assert was_cut_short(study.trials[trial.number])
    return trial


def test_a_trial_that_was_cut_short_and_run_again_moves_no_other():
    whole, interrupted = study(), study()
    whole.optimize(objective, n_trials=6)
    interrupted.optimize(objective, n_trials=2)
    interrupted.enqueue_trial(die(interrupted).params, user_attrs={ATTEMPT: 2})
    interrupted.optimize(objective, n_trials=4)
    assert drawn(interrupted) == drawn(whole)


def test_values_that_kill_again_and_again_are_left_behind():
    """Whatever ends the process, say for want of memory, must not be drawn for ever."""
    one = study()
    first = die(one)
    one.enqueue_trial(first.params, user_attrs={ATTEMPT: 2})
    again = die(one)
    assert again.params == first.params
    assert die(one).params != first.params


def test_a_trials_own_failure_is_not_an_interruption():
    one = study()
    trial = one.ask()
    trial.set_user_attr(ERROR, "the loss is not a number")
    one.tell(trial, state=TrialState.FAIL)
    assert not was_cut_short(one.trials[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", optuna.pruners.NopPruner),
        ("median", optuna.pruners.MedianPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
    ],
)
def test_every_pruner_runs(params, name, expected):
    settings = PrunerParams(
        name=name,
        median=MedianPrunerParams(startup_trials=1, warmup=2),
        hyperband=HyperbandPrunerParams(warmup=2, reduction=3),
    )
    made = pruner(params.tune.model_copy(update={"pruner": settings}), epochs=9)
    assert type(made) is expected
    running = optuna.create_study(pruner=made, sampler=SeededTPE(1, startup_trials=2))

    def trained(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for epoch in range(9):
            trial.report(x, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    running.optimize(trained, n_trials=30)
    pruned = [trial for trial in running.trials if trial.state == TrialState.PRUNED]
    assert bool(pruned) == (expected is not optuna.pruners.NopPruner)
    if name == "median":
        assert min(trial.last_step for trial in pruned) == 2
