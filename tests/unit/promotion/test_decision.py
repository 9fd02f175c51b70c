"""The gate, check by check, at and beside its limits."""

from dataclasses import replace

import pytest

from galmorph.params import PromoteParams, merged
from galmorph.promotion.decision import Candidate, Champion, decide
from galmorph.promotion.galaxies import Paired

CHECKS = ("report", "data", "accuracy", "calibration", "slices", "explanations", "champion")
PASSED = {"verdict": "passed", "reason": "the interval lies above 0"}
FAILED = {"verdict": "failed", "reason": "the map survives random weights"}
UNDECIDED = {"verdict": "undecided", "reason": "the interval holds 0"}


@pytest.fixture(scope="module")
def gate(params):
    """A gate of values that a test can stand on either side of."""
    values = {
        "reports": ["a.json", "b.html"],
        "min_accuracy": 0.8,
        "max_calibration_error": 0.1,
        "confidence": 0.95,
        "min_galaxies": 30,
        "slices": {"exempt": ["near even odds"], "max_gap": 0.1},
        "explanations": {"methods": ["grad_cam", "attention_rollout"], "checks": ["randomisation", "deletion"]},
    }
    return PromoteParams.model_validate(merged(params.promote.model_dump(), values))


def part(difference, warning):
    return {"difference": difference, "warning": warning}


def metrics(**changes):
    test = {
        "n": 140,
        "confidence": 0.95,
        "accuracy": {"value": 0.9, "low": 0.85, "high": 0.95},
        "ece": {"value": 0.05, "low": 0.0, "high": 0.08},
    }
    slices = {"near even odds": {"any": part(-0.4, True)}, "brightness": {"1 of 2": part(0.02, False)}}
    values = {"scored_split": "test", "data_digest": "d" * 64, "test": test, "slices": slices}
    return merged(values, changes)


def explained(**verdicts):
    return {"methods": {"grad_cam": {"verdicts": {"randomisation": PASSED, "deletion": PASSED, **verdicts}}}}


CANDIDATE = Candidate(
    version=3,
    data_digest="d" * 64,
    artifacts=frozenset({"a.json", "b.html", "c.txt"}),
    metrics=metrics(),
    faithfulness=explained(),
    foreign=(),
    exported=True,
)


def champion(b, c, compared=100, **counts):
    paired = Paired(galaxies=140, taught=0, stored=compared, asked=0, unanswered=0, b=b, c=c)
    return Champion(2, replace(paired, **counts), "")


def reason(decision, check):
    return next(one for one in decision.reasons if one.check == check)


def refused(candidate, gate, check, against=None):
    """The words of the one check that stands in the way."""
    decision = decide(candidate, against, gate)
    assert not decision.promote
    assert decision.failed == (check,)
    assert tuple(one.check for one in decision.reasons) == CHECKS, "every check has its reason"
    return reason(decision, check).text


def allowed(candidate, gate, check, against=None):
    decision = decide(candidate, against, gate)
    assert decision.promote, decision.failed
    return reason(decision, check).text


def test_a_good_candidate_without_a_champion_is_promoted(gate):
    decision = decide(CANDIDATE, None, gate)
    assert decision.promote
    assert decision.failed == ()
    assert "no champion yet" in reason(decision, "champion").text


class TestReport:
    def test_a_missing_one_is_named(self, gate):
        text = refused(replace(CANDIDATE, artifacts=frozenset({"a.json"})), gate, "report")
        assert text.startswith("b.html is missing")

    def test_one_of_another_model_is_named(self, gate):
        assert "x is of another model" in refused(
            replace(CANDIDATE, foreign=("x is of another model",)), gate, "report"
        )

    def test_without_scores_every_check_that_needs_them_fails(self, gate):
        decision = decide(replace(CANDIDATE, metrics=None, faithfulness=None), None, gate)
        assert decision.failed == ("data", "accuracy", "calibration", "slices", "explanations")


class TestData:
    @pytest.mark.parametrize("digest", ["", "unknown"])
    def test_unknown(self, gate, digest):
        assert "does not say which data" in refused(replace(CANDIDATE, data_digest=digest), gate, "data")

    def test_scored_on_other_data_than_trained_on(self, gate):
        assert "scored on dddddddddddd" in refused(replace(CANDIDATE, data_digest="e" * 64), gate, "data")


class TestAccuracy:
    @pytest.mark.parametrize(("low", "passes"), [(0.8, True), (0.799, False)])
    def test_the_lower_end_counts(self, gate, low, passes):
        candidate = replace(CANDIDATE, metrics=metrics(test={"accuracy": {"low": low}}))
        text = (allowed if passes else refused)(candidate, gate, "accuracy")
        assert f"the lower end, {low:.3f}" in text

    @pytest.mark.parametrize(("n", "passes"), [(16, True), (15, False)])
    def test_without_a_wrong_answer_the_counts_give_the_interval(self, gate, n, passes):
        """Wilson's lower end of n of n is n / (n + z²): 0.8064 at 16 and 0.7961 at 15."""
        test = {"n": n, "accuracy": {"value": 1.0, "low": None, "high": None}}
        (allowed if passes else refused)(replace(CANDIDATE, metrics=metrics(test=test)), gate, "accuracy")

    def test_validation_is_no_test(self, gate):
        found = metrics(scored_split="validation", test=None, validation=metrics()["test"])
        decision = decide(replace(CANDIDATE, metrics=found), None, gate)
        assert decision.failed == ("accuracy", "calibration")
        assert "no test split" in reason(decision, "accuracy").text


@pytest.mark.parametrize(("high", "passes"), [(0.1, True), (0.101, False)])
def test_the_upper_end_of_the_calibration_error_counts(gate, high, passes):
    candidate = replace(CANDIDATE, metrics=metrics(test={"ece": {"high": high}}))
    (allowed if passes else refused)(candidate, gate, "calibration")


class TestSlices:
    @pytest.mark.parametrize(
        ("difference", "warning", "passes"), [(-0.1, True, True), (-0.101, True, False), (-0.5, False, True)]
    )
    def test_significant_and_by_more_than_the_gap(self, gate, difference, warning, passes):
        found = metrics(slices={"size": {"1 of 3": part(difference, warning), "2 of 3": part(0.0, False)}})
        text = (allowed if passes else refused)(replace(CANDIDATE, metrics=found), gate, "slices")
        assert ("size, 1 of 3" in text) == warning

    def test_an_exempt_group_is_not_looked_at(self, gate):
        assert "none of 1 slices" in allowed(CANDIDATE, gate, "slices")

    def test_slices_must_have_been_scored(self, gate):
        refused(replace(CANDIDATE, metrics={**metrics(), "slices": None}), gate, "slices")


class TestExplanations:
    def test_a_failed_check_is_told_in_its_own_words(self, gate):
        text = refused(replace(CANDIDATE, faithfulness=explained(deletion=FAILED)), gate, "explanations")
        assert text == "grad_cam, deletion: the map survives random weights"

    def test_a_check_that_was_not_made_stands_in_the_way(self, gate):
        bare = {"methods": {"grad_cam": {"verdicts": {"randomisation": PASSED}}}}
        assert "deletion: not checked" in refused(replace(CANDIDATE, faithfulness=bare), gate, "explanations")

    def test_an_undecided_one_only_where_the_gate_says_so(self, gate):
        candidate = replace(CANDIDATE, faithfulness=explained(deletion=UNDECIDED))
        assert "Not decided by so few galaxies: grad_cam, deletion" in allowed(candidate, gate, "explanations")
        explanations = gate.explanations.model_copy(update={"undecided": "refused"})
        strict = gate.model_copy(update={"explanations": explanations})
        assert "the interval holds 0" in refused(candidate, strict, "explanations")

    def test_other_methods_may_fail(self, gate):
        found = explained()
        found["methods"]["lime"] = {"verdicts": {"randomisation": FAILED}}
        allowed(replace(CANDIDATE, faithfulness=found), gate, "explanations")

    @pytest.mark.parametrize("found", [None, {"methods": {}}, {"methods": {"lime": {"verdicts": {}}}}])
    def test_none_that_is_asked_for(self, gate, found):
        text = refused(replace(CANDIDATE, faithfulness=found), gate, "explanations")
        assert "none of grad_cam, attention_rollout was checked" in text


class TestChampion:
    # The exact two-sided p of 6 against 0 is 0.03125, of 5 against 0 0.0625.
    @pytest.mark.parametrize(
        ("b", "c", "passes"), [(6, 0, False), (5, 0, True), (0, 6, True), (20, 20, True), (0, 0, True)]
    )
    def test_significantly_worse_is_refused(self, gate, b, c, passes):
        text = (allowed if passes else refused)(CANDIDATE, gate, "champion", champion(b, c))
        assert f"the champion alone is right on {b}, the candidate alone on {c}" in text

    def test_the_confidence_is_the_gates(self, gate):
        allowed(CANDIDATE, gate.model_copy(update={"confidence": 0.99}), "champion", champion(6, 0))

    @pytest.mark.parametrize(("compared", "passes"), [(30, True), (29, False)])
    def test_too_few_galaxies_are_said_to_be_too_few(self, gate, compared, passes):
        against = champion(0, 3, compared, taught=140 - compared - 1, unanswered=1)
        text = (allowed if passes else refused)(CANDIDATE, gate, "champion", against)
        assert f"on {compared} of 140 galaxies" in text
        assert f"{140 - compared - 1} left out as the champion was trained on them" in text
        assert "1 left out without an image" in text
        assert ("too few to tell" in text) != passes

    def test_what_cannot_be_known_is_refused(self, gate):
        text = refused(CANDIDATE, gate, "champion", Champion(2, None, "of the champion, nothing is recorded."))
        assert text == "against version 2: of the champion, nothing is recorded."
