import copy

import pytest

from galmorph.errors import InputError
from galmorph.evaluation.selection import choose_best as choose
from galmorph.evaluation.selection import rank_candidates

RAW, MEDIAN, RESNET = "regularised_cnn_raw", "regularised_cnn_median", "resnet50_finetune_raw"


#: A difference that leaves no doubt, and two that do.
CLEAR = {"value": 0.1, "low": 0.05, "high": 0.15}
OPEN = {"value": 0.02, "low": -0.01, "high": 0.05}
NONE = {"value": 0.0, "low": None, "high": None}


def choose_best(records, params, differences=None):
    """Choose, every other candidate being clearly worse unless `differences` say otherwise."""
    others = rank_candidates(records, params)[1:]
    return choose(records, params, {**dict.fromkeys(others, CLEAR), **(differences or {})})


def with_validation(records, **scores):
    """Records with other scores on validation: `regularised_cnn_raw={"loss": (value, low, high)}`."""
    changed = copy.deepcopy(records)
    for name, values in scores.items():
        for score, numbers in values.items():
            changed[name]["validation"][score] = dict(zip(("value", "low", "high"), numbers, strict=True))
    return changed


@pytest.mark.parametrize("by", ["loss", "accuracy"])
def test_the_best_on_validation_is_chosen(records, compare_params, by):
    best = choose_best(records, compare_params(*records, select_by=by))
    assert best["experiment"] == MEDIAN
    assert best["score"] == records[MEDIAN]["validation"][by]
    assert (best["selected_by"], best["selected_on"]) == (by, "validation")
    assert best["candidates"] == [MEDIAN, RAW, RESNET]
    assert f"{'lowest' if by == 'loss' else 'highest'} {by} on validation" in best["reason"]


def test_it_names_the_files_it_was_chosen_from(records, compare_params):
    best = choose_best(records, compare_params(*records))
    for key in ("architecture", "variant", "image_size", "crop", "data_digest", "model_digest", "predictions_digest"):
        assert best[key] == records[MEDIAN][key]


def test_test_plays_no_part(records, compare_params):
    changed = copy.deepcopy(records)
    for name, record in changed.items():
        record["test"] = {"loss": None, "poison": name}
    assert choose_best(changed, compare_params(*records)) == choose_best(records, compare_params(*records))


def test_only_the_architecture_that_may_be_registered(records, compare_params):
    best = choose_best(records, compare_params(*records, architecture="resnet50"))
    assert best["experiment"] == RESNET
    assert best["candidates"] == [RESNET]
    assert "only candidate of architecture resnet50" in best["reason"]


def test_no_experiment_of_the_architecture(records, compare_params):
    with pytest.raises(InputError, match=r"register\.architecture is vit.*Received: regularised_cnn_raw"):
        choose_best(records, compare_params(*records, architecture="vit"))


@pytest.mark.parametrize("difference", [OPEN, NONE])
def test_what_the_galaxies_cannot_tell_from_the_best_is_named(records, compare_params, difference):
    changed = with_validation(
        records,
        regularised_cnn_raw={"loss": (0.40, 0.35, 0.45)},
        regularised_cnn_median={"loss": (0.44, 0.39, 0.49)},
        resnet50_finetune_raw={"loss": (0.41, 0.36, 0.46)},
    )
    # The nearer one is told apart all the same: what counts is the difference, galaxy by galaxy.
    best = choose_best(changed, compare_params(*records), {MEDIAN: difference, RESNET: CLEAR})
    assert (best["experiment"], best["tied"], best["indistinguishable"]) == (RAW, [], [MEDIAN])
    assert (
        "Tied with it as far as these galaxies tell (the 95 % interval of the paired difference of loss holds 0)"
        in (best["reason"])
    )
    assert f"{MEDIAN} (0.440)" in best["reason"]
    assert RESNET not in best["reason"]
    assert best["differences"] == {MEDIAN: difference, RESNET: CLEAR}


def test_a_clear_choice_names_no_tie(records, compare_params):
    best = choose_best(records, compare_params(*records))
    assert best["indistinguishable"] == []
    assert "Tied" not in best["reason"]


def test_a_tie_is_called_a_tie_and_the_other_score_decides(records, compare_params):
    same = (0.40, None, None)
    changed = with_validation(
        records,
        regularised_cnn_raw={"loss": same, "accuracy": (0.80, None, None)},
        regularised_cnn_median={"loss": (0.5, None, None)},
        resnet50_finetune_raw={"loss": same, "accuracy": (0.82, None, None)},
    )
    best = choose_best(changed, compare_params(*records))
    assert (best["experiment"], best["tied"], best["indistinguishable"]) == (RESNET, [RAW], [RAW])
    assert f"{RAW} scored exactly the same; the better accuracy decided" in best["reason"]


def test_a_tie_in_everything_goes_to_the_first_in_the_file(records, compare_params):
    same = {"loss": (0.4, 0.3, 0.5), "accuracy": (0.8, 0.7, 0.9)}
    changed = with_validation(records, **dict.fromkeys(records, same))
    # Whatever the order of the records.
    backwards = dict(reversed(changed.items()))
    for given in (changed, backwards):
        best = choose_best(given, compare_params(*records))
        assert (best["experiment"], best["tied"]) == (RAW, [MEDIAN, RESNET])
        assert f"{MEDIAN} and {RESNET} scored exactly the same" in best["reason"]
