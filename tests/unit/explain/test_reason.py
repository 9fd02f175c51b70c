"""An answer's reasons in words."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from galmorph.errors import InputError
from galmorph.explain.class_map import empty_text
from galmorph.explain.reason import Evidence, Numbers, Turns, paragraph, reasons
from galmorph.explain.reason_words import likelihood, percent

NOTHING = Numbers("Elliptical", 0.93, 0.5, None, None, None, None, 0, None, None, None, {})


def said(**changes) -> str:
    return paragraph(dataclasses.replace(NOTHING, **changes))


def evidence(**changes) -> Evidence:
    values = {
        "method": "Grad-CAM", "empty": False, "galaxy": 0.62, "neighbours": 0.08, "sky": 0.21, "uniform": 0.31,
        "pointing": True,
    }  # fmt: skip
    return Evidence(**{**values, **changes})


def test_it_needs_neither_tensorflow_nor_matplotlib():
    """The service imports it."""
    heavy = "{'tensorflow', 'keras', 'matplotlib', 'pandas'}"
    code = f"import sys, galmorph.explain.reason; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_parts_are_in_the_order_of_the_questions():
    assert [part.heading for part in reasons(NOTHING)] == [
        "The answer", "How sure", "What it rests on", "Does it hold", "What was checked", "What this cannot tell",
    ]  # fmt: skip


def test_what_was_not_measured_is_said_and_not_made_up():
    text = said()
    assert "was not measured" in text
    assert "was not checked" in text
    assert "None" not in text
    assert "nan" not in text
    assert "catalogue" not in text


def test_the_decision_is_in_words_of_everyday():
    assert "smooth, round or oval" in said()
    assert "spiral arms" in said(predicted="Other", p_elliptical=0.1)
    assert "The catalogue says the same" in said(label="Elliptical")
    assert "The catalogue says “Other”. They disagree" in said(label="Other")


@pytest.mark.parametrize(
    ("predicted", "p", "expected"),
    [
        ("Elliptical", 0.93, "probability of 93 %; in words, it is very likely"),
        ("Other", 0.03, "probability of 97 %; in words, it is extremely likely"),
        ("Other", 0.3, "probability of 70 %; in words, it is likely"),
        ("Elliptical", 0.55, "probability of 55 %; in words, it is about as likely as not"),
        ("Elliptical", 0.9999, "probability of more than 99 %; in words, it is virtually certain"),
    ],
)
def test_confidence_is_that_of_the_answer_in_number_and_word(predicted, p, expected):
    assert expected in said(predicted=predicted, p_elliptical=p)


def test_the_words_change_at_their_bounds():
    bounds = {0.99: "virtually certain", 0.95: "extremely likely", 0.9: "very likely", 0.66: "likely", 0.33: "about"}
    for bound, word in bounds.items():
        assert likelihood(bound).startswith(word)
        assert not likelihood(bound - 1e-9).startswith(word)


def test_a_share_is_never_rounded_to_none_or_all():
    assert [percent(share) for share in (0.0, 1e-9, 0.5, 1 - 1e-9, 1.0)] == [
        "0 %", "less than 1 %", "50 %", "more than 99 %", "100 %",
    ]  # fmt: skip


def test_a_count_of_galaxies_makes_the_probability_plain():
    assert "of 100 galaxies with this probability, about 93 are" in said()
    assert "nearly all are" in said(p_elliptical=0.9999)


@pytest.mark.parametrize(("p", "near"), [(0.5, True), (0.59, True), (0.61, False), (0.41, True), (0.39, False)])
def test_near_the_line_a_person_should_look(p, near):
    predicted = "Elliptical" if p >= 0.5 else "Other"
    assert ("close to 50 %, the line" in said(p_elliptical=p, predicted=predicted)) is near


def test_another_line_is_named_from_the_answers_side():
    assert "probability of 35 %; in words, it is about as likely" in said(p_elliptical=0.35, threshold=0.3)
    assert "close to 30 %" in said(p_elliptical=0.35, threshold=0.3)
    assert "close to 70 %" in said(p_elliptical=0.25, threshold=0.3, predicted="Other")


@pytest.mark.parametrize(
    ("galaxy", "expected"),
    [
        (0.62, "2.0 times what marks without any preference would"),
        (0.33, "no more than marks without any preference would"),
        (0.10, "less than marks without any preference would"),
    ],
)
def test_the_share_on_the_galaxy_stands_beside_that_of_an_even_map(galaxy, expected):
    text = said(evidence=evidence(galaxy=galaxy))
    assert expected in text
    assert f"{100 * galaxy:.0f} % lies on the galaxy itself, 8 % on neighbouring objects and 21 % on empty sky" in text
    assert "fills 31 % of what the model sees" in text


def test_neighbours_that_hold_more_are_a_warning():
    assert "do not rely on this answer" in said(evidence=evidence(galaxy=0.1, neighbours=0.5))
    assert "do not rely on this answer" not in said(evidence=evidence())


def test_the_strongest_place():
    assert "strongest place lies on the galaxy" in said(evidence=evidence())
    assert "strongest place lies outside the galaxy" in said(evidence=evidence(pointing=False))
    assert "strongest place" not in said(evidence=evidence(pointing=None))


def test_an_empty_map_is_explained_and_its_shares_are_not():
    text = said(evidence=evidence(empty=True, galaxy=None, neighbours=None, sky=None, pointing=None))
    assert f"It is empty: {empty_text('Elliptical')}." in text
    assert "lies on the galaxy" not in text


def test_without_a_galaxy_no_share_is_given():
    text = said(evidence=evidence(), galaxy_found=False)
    assert "No galaxy stands out of the sky" in text
    assert "lies on the galaxy itself" not in text


def test_shares_that_are_missing_are_left_out():
    text = said(evidence=evidence(neighbours=None, sky=None, uniform=None))
    assert "62 % lies on the galaxy itself." in text
    assert "without any preference" not in text
    assert "was not measured" in said(evidence=evidence(galaxy=None))
    assert "without any preference" not in said(evidence=evidence(uniform=0.0))


def test_blank_channels_are_said():
    assert "One of the picture's three colour channels is blank" in said(blank_channels=1)
    assert "2 of the picture's three colour channels are blank" in said(blank_channels=2)
    assert "blank" not in said()


def test_stability_is_counted():
    assert "in all 8 ways, the model gave the same answer 5 times of 8" in said(turns=Turns(5, 8, 0.42, 0.97))
    text = said(turns=Turns(8, 8, 0.9, 0.97))
    assert "gave the same answer every time; the probability of Elliptical lay between 90 % and 97 %" in text


@pytest.mark.parametrize(
    ("value", "word"), [(0.7, "stayed much the same"), (0.5, "changed in part"), (0.39, "became another")]
)
def test_the_maps_stability_is_in_words_and_number(value, word):
    assert f"The heat map {word} when the picture was turned ({value:.2f}" in said(map_stability=value)


def test_methods_that_disagree_are_a_warning():
    assert "no single one of them should be taken for the reason" in said(agreement=0.1)
    assert "no single one" not in said(agreement=0.8)


def test_checks_are_put_as_what_they_show():
    verdicts = {"randomisation": "passed", "on_galaxy": "passed", "deletion": "failed", "insertion": "undecided"}
    text = said(verdicts=verdicts)
    assert "passed 2 checks: the map comes from what the model learnt" in text
    assert "It failed one check: hiding the marked places" in text
    assert "These galaxies could not decide one check: showing the marked places" in text
    assert "a hint and not as the reason" in text
    assert "a hint and not as the reason" not in said(verdicts={"randomisation": "passed"})


def test_words_of_the_trade_do_not_reach_the_reader():
    everything = said(
        label="Other", accuracy=0.87, evidence=evidence(), galaxy_found=True, blank_channels=1,
        turns=Turns(7, 8, 0.4, 0.6), map_stability=0.6, agreement=0.5,
        verdicts={"randomisation": "passed", "deletion": "failed", "insertion": "undecided", "on_galaxy": "passed"},
    )  # fmt: skip
    for word in ("logit", "attribution", "gradient ", "sigmoid", "threshold", "p_elliptical", "segment", "Spearman"):
        assert word not in everything


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predicted": "Spiral"}, "Elliptical, Other.*'Spiral'"),
        ({"p_elliptical": 1.2}, r"p_elliptical must lie in \[0, 1\].*1.2"),
        ({"p_elliptical": np.nan}, "p_elliptical.*nan"),
        ({"evidence": evidence(sky=-0.1)}, "sky.*-0.1"),
        ({"turns": Turns(8, 8, 0.1, 7.0)}, "highest.*7.0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        said(**changes)
