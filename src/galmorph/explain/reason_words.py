"""The words that `galmorph.explain.reason` puts numbers into."""

from collections.abc import Mapping

#: What each answer means to someone who is no astronomer.
CLASSES = {
    "Elliptical": "a galaxy that is a smooth, round or oval glow, without a disc or spiral arms",
    "Other": "any galaxy that is not elliptical, such as one with a disc, spiral arms or no regular shape",
}
#: Words for probabilities: the calibrated language of the IPCC (Mastrandrea et al. 2010, Guidance Note for Lead Authors
#: of the IPCC Fifth Assessment Report on Consistent Treatment of Uncertainties, table 1), from the lower bound up.
_LIKELIHOODS = (
    (0.99, "virtually certain"),
    (0.95, "extremely likely"),
    (0.90, "very likely"),
    (0.66, "likely"),
    (0.33, "about as likely as not"),
    (0.0, "unlikely"),
)
#: What a check asks, when it was passed, failed or left open.
_CHECKS = {
    "randomisation": "the map comes from what the model learnt (it changes when that is replaced by random numbers)",
    "deletion": "hiding the marked places takes the answer away sooner than when the marks are moved elsewhere",
    "insertion": "showing the marked places brings the answer back sooner than when the marks are moved elsewhere",
    "on_galaxy": "the marks lie on the galaxy more than marks without any preference would",
}
CANNOT_TELL = (
    "A heat map shows where the model found evidence, not what it saw there: shape, colour or brightness. It describes "
    "the model, not the galaxy, and does not prove that the answer is right. The probability holds for galaxies like "
    "those that the model was trained and tested on. If something depends on this answer, ask for a person to look at "
    "the galaxy and decide."
)


def percent(share: float) -> str:
    """Write a share in whole percent; never 0 % or 100 % of what is neither none nor all."""
    if 0 < share < 0.01:
        return "less than 1 %"
    if 0.99 < share < 1:
        return "more than 99 %"
    return f"{100 * share:.0f} %"


def likelihood(p: float) -> str:
    """Name a probability in [0, 1] in words of known meaning."""
    return next(word for bound, word in _LIKELIHOODS if p >= bound)


def frequency(p: float) -> str:
    """Say what a probability means as a count of galaxies."""
    count = round(100 * p)
    about = "nearly all" if count == 100 else "hardly any" if count == 0 else f"about {count}"
    return f"of 100 galaxies with this probability, {about} are what the model says"


def relation(correlation: float, high: str, middle: str, low: str) -> str:
    """Choose words for a rank correlation: from 0.7 `high`, from 0.4 `middle`, else `low`.

    The bounds are those in common use for strong and moderate (Akoglu 2018, doi:10.1016/j.tjem.2018.08.001).
    """
    return high if correlation >= 0.7 else middle if correlation >= 0.4 else low


def channels_sentence(blank: int) -> str:
    """Say that colour channels are blank; nothing where none is."""
    if blank == 0:
        return ""
    some = "One of the picture's three colour channels is" if blank == 1 else (
        f"{min(blank, 3)} of the picture's three colour channels are"
    )  # fmt: skip
    return (
        f"{some} blank: no light was recorded there. The model knew less than usual, and may react to the gap itself."
    )


def checks_text(verdicts: Mapping[str, str]) -> str:
    """Say which checks a method passed, failed and left open.

    Parameters
    ----------
    verdicts
        Check to `passed`, `failed` or `undecided`, at least one.
    """
    parts = []
    for verdict, start in (
        ("passed", "Tried on a set of galaxies, this way of making heat maps passed"),
        ("failed", "It failed"),
        ("undecided", "These galaxies could not decide"),
    ):
        questions = [_CHECKS.get(check, check) for check, given in verdicts.items() if given == verdict]
        if questions:
            parts.append(f"{start} {_count(len(questions))}: {'; '.join(questions)}.")
    if "failed" in verdicts.values():
        parts.append("Because of what it failed, take this heat map as a hint and not as the reason for the answer.")
    return " ".join(parts)


def _count(number: int) -> str:
    return "one check" if number == 1 else f"{number} checks"
