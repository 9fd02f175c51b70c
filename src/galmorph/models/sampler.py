"""How a study chooses a trial's values, and which trials it gives up early."""

from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from galmorph.params import TuneParams

#: Attributes of a trial: why it failed by itself, and which attempt at its values it is, where it is not the first.
ERROR, ATTEMPT = "error", "attempt"


class SeededTPE(BaseSampler):
    """The tree-structured Parzen estimator (Bergstra et al. 2011), seeded anew for each trial.

    The seed depends on `tune.seed` and on the trial's place in the study alone. So workers on one study never draw the
    same numbers, and a study that was interrupted goes on with those that it would have drawn.
    """

    def __init__(self, seed: int, startup_trials: int) -> None:
        self.seed, self.startup_trials = seed, startup_trials
        self.trial_seed = 0
        self._own = TPESampler(seed=seed, n_startup_trials=startup_trials)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Take the seed of this trial."""
        earlier = study.get_trials(deepcopy=False)[: trial.number]
        # A trial that was cut short is run again under a later number: that moves none of those that follow.
        place = trial.number - sum(ATTEMPT in other.user_attrs for other in earlier)
        self.trial_seed = int(np.random.SeedSequence((self.seed, place)).generate_state(1)[0])
        self._own = TPESampler(seed=self.trial_seed, n_startup_trials=self.startup_trials)
        self._own.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """Ask the estimator."""
        return self._own.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        """Ask the estimator."""
        return self._own.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Ask the estimator."""
        return self._own.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Tell the estimator."""
        self._own.after_trial(study, trial, state, values)


def was_cut_short(trial: FrozenTrial) -> bool:
    """Whether a trial ended because its process did, and not by a failure of its own."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def pruner(tune: TuneParams, epochs: int) -> optuna.pruners.BasePruner:
    """Return Optuna's pruner; `epochs` are those of a trial that is not pruned."""
    match tune.pruner.name:
        case "median":
            median = tune.pruner.median
            return optuna.pruners.MedianPruner(n_startup_trials=median.startup_trials, n_warmup_steps=median.warmup)
        case "hyperband":
            hyperband = tune.pruner.hyperband
            return optuna.pruners.HyperbandPruner(
                min_resource=min(hyperband.warmup, epochs), max_resource=epochs, reduction_factor=hyperband.reduction
            )
    return optuna.pruners.NopPruner()
