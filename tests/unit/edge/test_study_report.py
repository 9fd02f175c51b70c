"""What a study's report makes of its trials."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from galmorph.edge.study_report import importances

SPACE = {"matters": FloatDistribution(0, 1), "does_not": FloatDistribution(0, 1)}


def study(values: list[tuple[float, float, float]], state: TrialState = TrialState.COMPLETE) -> optuna.Study:
    """A study in memory of trials with two values and what they came to."""
    made = optuna.create_study()
    for matters, does_not, value in values:
        params = {"matters": matters, "does_not": does_not}
        made.add_trial(create_trial(params=params, distributions=SPACE, value=value, state=state))
    return made


def test_what_makes_trials_differ_has_the_larger_share():
    # The other value goes round independently of the outcome.
    found = importances(study([(number / 20, number * 7 % 20 / 20, number / 20) for number in range(20)]))
    assert sum(found.values()) == pytest.approx(1)
    assert found["matters"] > 0.7


@pytest.mark.parametrize(
    "made",
    [
        study([]),
        study([(0.1, 0.2, 0.5)]),
        study([(0.1, 0.2, 0.5), (0.3, 0.1, 0.5)]),
        study([(0.1, 0.2, 0.5), (0.3, 0.1, 0.7)], TrialState.PRUNED),
    ],
    ids=["no trial", "one", "all the same", "none completed"],
)
def test_what_did_not_differ_has_no_shares(made):
    assert importances(made) == {}
