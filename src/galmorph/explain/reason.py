"""An answer's reasons in plain words, made from numbers alone.

The text is meant for someone who has a right to an explanation of a decision that a model took part in (Regulation (EU)
2016/679, Articles 15(1)(h) and 22): it says what was decided and how surely, what the decision rests on, how far it
holds when nothing that matters changes, what was checked and failed, and what nobody can read from it. What was not
measured is said to be so; nothing is made up. Neither TensorFlow nor matplotlib is needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from galmorph.errors import InputError
from galmorph.explain.class_map import empty_text
from galmorph.explain.reason_words import (
    CANNOT_TELL,
    CLASSES,
    channels_sentence,
    checks_text,
    frequency,
    likelihood,
    percent,
    relation,
)

#: A probability this near to the line between the answers is called near, in words and for the advice to look again.
_NEAR = 0.1
#: How far from 1 the ratio of the galaxy's share to that of a map without preference counts as a difference.
_DIFFERENT = 0.1


@dataclass(frozen=True)
class Evidence:
    """Where one method finds what spoke for the answer.

    Attributes
    ----------
    method
        The method's title.
    empty
        Whether its map is zero everywhere.
    galaxy, neighbours, sky
        Shares of the attribution in [0, 1]; the rest lies at the edges of objects. None: not measured.
    uniform
        Share that a map of one value everywhere has on the galaxy: the galaxy's part of the area.
    pointing
        Whether the map's strongest place lies on the galaxy.
    """

    method: str
    empty: bool
    galaxy: float | None
    neighbours: float | None
    sky: float | None
    uniform: float | None
    pointing: bool | None


@dataclass(frozen=True)
class Turns:
    """Answers for the same picture turned and mirrored: how many of how many agree, and the range of `p_elliptical`."""

    kept: int
    of: int
    lowest: float
    highest: float


@dataclass(frozen=True)
class Numbers:
    """What is known of one answer; None: not measured.

    Attributes
    ----------
    predicted
        `Elliptical` or `Other`.
    p_elliptical
        Calibrated, in [0, 1].
    threshold
        `p_elliptical` from which the answer is Elliptical.
    label
        What the catalogue says.
    accuracy
        Share of held-out galaxies that the model answers rightly.
    evidence
        Of the method whose map is shown first.
    galaxy_found
        Whether a galaxy stands out of the sky at the centre of the picture.
    blank_channels
        How many of the three colour channels have no content.
    map_stability
        Mean rank correlation of the map with those of the turned and mirrored picture, turned back.
    agreement
        Mean rank correlation between the methods' maps of this galaxy.
    verdicts
        Check to `passed`, `failed` or `undecided`, for the method of `evidence`.
    """

    predicted: str
    p_elliptical: float
    threshold: float
    label: str | None
    accuracy: float | None
    evidence: Evidence | None
    galaxy_found: bool | None
    blank_channels: int
    turns: Turns | None
    map_stability: float | None
    agreement: float | None
    verdicts: Mapping[str, str]


@dataclass(frozen=True)
class Reason:
    """One part of an explanation: what it is about, and the text."""

    heading: str
    text: str


def reasons(numbers: Numbers) -> tuple[Reason, ...]:
    """Explain an answer in parts: decision, confidence, evidence, stability, checks, limits.

    Raises
    ------
    InputError
        When the class is not known, or a share or probability lies outside [0, 1].
    """
    _check(numbers)
    return (
        Reason("The answer", _decision(numbers)),
        Reason("How sure", _confidence(numbers)),
        Reason("What it rests on", _evidence(numbers)),
        Reason("Does it hold", _stability(numbers)),
        Reason("What was checked", _checks(numbers)),
        Reason("What this cannot tell", CANNOT_TELL),
    )


def paragraph(numbers: Numbers) -> str:
    """Explain an answer in one paragraph; see `reasons`."""
    return " ".join(part.text for part in reasons(numbers))


def _check(numbers: Numbers) -> None:
    if numbers.predicted not in CLASSES:
        raise InputError(f"an answer must be one of {', '.join(CLASSES)}. Received: {numbers.predicted!r}")
    shares: dict[str, float | None] = {
        name: getattr(numbers, name) for name in ("p_elliptical", "threshold", "accuracy")
    }
    if numbers.evidence is not None:
        shares |= {name: getattr(numbers.evidence, name) for name in ("galaxy", "neighbours", "sky", "uniform")}
    if numbers.turns is not None:
        shares |= {name: getattr(numbers.turns, name) for name in ("lowest", "highest")}
    for name, value in shares.items():
        # Not NaN either, which no comparison holds for.
        if value is not None and not 0 <= value <= 1:
            raise InputError(f"{name} must lie in [0, 1], or be None where it was not measured. Received: {value!r}")


def _decision(numbers: Numbers) -> str:
    other = next(name for name in CLASSES if name != numbers.predicted)
    said = (
        f"The model was shown a picture of this galaxy and answered “{numbers.predicted}”: "
        f"{CLASSES[numbers.predicted]}. The only other answer it can give is “{other}”."
    )
    if numbers.label is None:
        return said
    if numbers.label == numbers.predicted:
        return f"{said} The catalogue says the same."
    return f"{said} The catalogue says “{numbers.label}”. They disagree, and either of them can be wrong."


def _confidence(numbers: Numbers) -> str:
    p = numbers.p_elliptical if numbers.predicted == "Elliptical" else 1 - numbers.p_elliptical
    said = (
        f"The model gives this answer a probability of {percent(p)}; in words, it is {likelihood(p)}. Its "
        f"probabilities were compared with known galaxies and corrected: {frequency(p)}."
    )
    if abs(numbers.p_elliptical - numbers.threshold) < _NEAR:
        line = numbers.threshold if numbers.predicted == "Elliptical" else 1 - numbers.threshold
        said += (
            f" That is close to {percent(line)}, the line between the two answers: a small change of the picture could "
            "turn the answer, so a person should look at the galaxy before anything depends on it."
        )
    if numbers.accuracy is not None:
        said += (
            f" Over galaxies that were kept aside for testing, {percent(numbers.accuracy)} of its answers are right."
        )
    return said


def _evidence(numbers: Numbers) -> str:
    return " ".join(filter(None, [_place(numbers), _found(numbers), channels_sentence(numbers.blank_channels)]))


def _found(numbers: Numbers) -> str:
    if numbers.galaxy_found is not False:
        return ""
    return (
        "No galaxy stands out of the sky at the centre of the picture, so it cannot be said whether the evidence "
        "lies on it. Look at the picture before relying on the answer."
    )


def _place(numbers: Numbers) -> str:
    evidence = numbers.evidence
    if evidence is None:
        return "What in the picture the answer rests on was not measured."
    said = f"A heat map, which marks the places that spoke for the answer, was made by the method {evidence.method}."
    if evidence.empty:
        return f"{said} It is empty: {empty_text(numbers.predicted)}."
    if evidence.galaxy is None or numbers.galaxy_found is False:
        return f"{said} How much of it lies on the galaxy was not measured."
    elsewhere = [
        f"{percent(share)} on {name}"
        for name, share in (("neighbouring objects", evidence.neighbours), ("empty sky", evidence.sky))
        if share is not None
    ]
    said += f" Of what it marks, {percent(evidence.galaxy)} lies on the galaxy itself"
    said += f", {' and '.join(elsewhere)}." if elsewhere else "."
    return " ".join(filter(None, [said, _against_uniform(evidence), _pointing(evidence), _neighbours(evidence)]))


def _against_uniform(evidence: Evidence) -> str:
    if evidence.galaxy is None or evidence.uniform is None or evidence.uniform == 0:
        return ""
    ratio = evidence.galaxy / evidence.uniform
    area = f"The galaxy fills {percent(evidence.uniform)} of what the model sees, so it holds"
    chance = "marks without any preference would"
    if ratio > 1 + _DIFFERENT:
        return f"{area} {ratio:.1f} times what {chance}: the marks gather on the galaxy."
    if ratio >= 1 - _DIFFERENT:
        return f"{area} no more than {chance}: the map does not single out the galaxy."
    return f"{area} less than {chance}: the map points away from the galaxy."


def _pointing(evidence: Evidence) -> str:
    if evidence.pointing is None:
        return ""
    return f"The strongest place lies {'on' if evidence.pointing else 'outside'} the galaxy."


def _neighbours(evidence: Evidence) -> str:
    if evidence.neighbours is None or evidence.galaxy is None or evidence.neighbours <= evidence.galaxy:
        return ""
    return "Neighbouring objects hold more than the galaxy: do not rely on this answer without a look at the picture."


def _stability(numbers: Numbers) -> str:
    said = []
    turns = numbers.turns
    if turns is None:
        said.append("How the answer changes when the picture is turned was not measured.")
    else:
        times = "every time" if turns.kept == turns.of else f"{turns.kept} times of {turns.of}"
        said.append(
            "A galaxy's type does not depend on how its picture is turned. Turned and mirrored in all "
            f"{turns.of} ways, the model gave the same answer {times}; the probability of Elliptical lay between "
            f"{percent(turns.lowest)} and {percent(turns.highest)}."
        )
    if numbers.map_stability is not None:
        change = relation(numbers.map_stability, "stayed much the same", "changed in part", "became another")
        said.append(
            f"The heat map {change} when the picture was turned ({numbers.map_stability:.2f}, where 1 is the same "
            "order of places and 0 no relation)."
        )
    if numbers.agreement is not None:
        said.append(
            "Heat maps by other methods "
            f"{relation(numbers.agreement, 'agree with each other', 'agree in part', 'disagree with each other')} "
            f"({numbers.agreement:.2f} by the same measure)"
            + ("." if numbers.agreement >= 0.4 else ", so no single one of them should be taken for the reason.")
        )
    return " ".join(said)


def _checks(numbers: Numbers) -> str:
    if not numbers.verdicts:
        return "Whether the heat map is true of the model was not checked."
    return checks_text(numbers.verdicts)
