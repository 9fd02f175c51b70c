"""The gate: what a version must show before it becomes the champion.

Nothing here knows MLflow. `decide` is given what a version's run holds and says yes or no, with a reason for each
check, whichever way it fell.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.evaluation.bootstrap import wilson_interval
from galmorph.evaluation.mcnemar import mcnemar
from galmorph.evaluation.text import listed, p_text, percent, score_text, slice_name
from galmorph.params import PromoteParams
from galmorph.promotion.galaxies import Paired

#: What stands in the place of a digest that nobody knows.
_UNKNOWN = ("", "unknown")


@dataclass(frozen=True)
class Candidate:
    """A registered version, as its tags and its run's artifacts tell of it.

    Attributes
    ----------
    version
        Its number.
    data_digest
        Of its tags; empty when there is none.
    artifacts
        Names of the files that its run holds.
    metrics
        `evaluation/metrics.json`, or None.
    faithfulness
        `explanations/faithfulness.json`, or None.
    foreign
        Reports that are there and are of another model, in words.
    exported
        Whether it has an exported model, which the service answers with.
    """

    version: int
    data_digest: str
    artifacts: frozenset[str]
    metrics: Mapping[str, Any] | None
    faithfulness: Mapping[str, Any] | None
    foreign: tuple[str, ...]
    exported: bool


@dataclass(frozen=True)
class Champion:
    """The version that is served now.

    Attributes
    ----------
    version
        Its number.
    paired
        It and the candidate on the same galaxies; None where that cannot be known.
    problem
        Why it cannot.
    """

    version: int
    paired: Paired | None
    problem: str


@dataclass(frozen=True)
class Reason:
    """How one check fell.

    Attributes
    ----------
    check
        Its name.
    passed
        Whether it lets the version through.
    text
        What was found, and what was asked for.
    """

    check: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Decision:
    """Whether the version may become the champion, and a reason for each check."""

    promote: bool
    reasons: tuple[Reason, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that stand in the way."""
        return tuple(reason.check for reason in self.reasons if not reason.passed)


def decide(candidate: Candidate, champion: Champion | None, gate: PromoteParams) -> Decision:
    """Decide whether a version may become the champion.

    Parameters
    ----------
    candidate
        The version.
    champion
        What it would take the place of; None when there is no champion yet.
    gate
        What is asked for.

    Returns
    -------
    Decision
        Every check has its reason, also behind one that failed. A report that is missing fails the checks that need it.
    """
    reasons = (
        _report(candidate, gate),
        _data(candidate),
        _accuracy(candidate.metrics, gate),
        _calibration(candidate.metrics, gate),
        _slices(candidate.metrics, gate),
        _explanations(candidate.faithfulness, gate),
        _champion(champion, gate),
    )
    return Decision(all(reason.passed for reason in reasons), reasons)


def _report(candidate: Candidate, gate: PromoteParams) -> Reason:
    problems = [f"{name} is missing" for name in gate.reports if name not in candidate.artifacts]
    problems += candidate.foreign
    if not candidate.exported:
        problems.append("its exported model is missing, so no service could answer with it")
    if problems:
        return Reason("report", False, f"{'; '.join(problems)}. Register the model again.")
    return Reason("report", True, f"all {len(gate.reports)} reports and the exported model are with the version.")


def _data(candidate: Candidate) -> Reason:
    digest = candidate.data_digest
    if digest in _UNKNOWN:
        return Reason("data", False, "the version does not say which data it was trained on (tag data_digest).")
    scored_on = (candidate.metrics or {}).get("data_digest")
    if scored_on != digest:
        return Reason("data", False, f"trained on data {digest[:12]}, scored on {str(scored_on)[:12]}.")
    return Reason("data", True, f"trained and scored on data {digest[:12]}.")


def _tested(metrics: Mapping[str, Any] | None) -> tuple[Mapping[str, Any] | None, str]:
    """Return the scores on test, or why there are none."""
    if metrics is None:
        return None, "there are no scores."
    if metrics.get("scored_split") != "test" or metrics.get("test") is None:
        return None, "there is no test split (split.method: published), and scores on validation flatter."
    return metrics["test"], ""


def _accuracy(metrics: Mapping[str, Any] | None, gate: PromoteParams) -> Reason:
    scores, problem = _tested(metrics)
    if scores is None:
        return Reason("accuracy", False, problem)
    low = scores["accuracy"]["low"]
    if low is None:
        # Without a wrong answer, resampling says nothing; counts still do.
        share, n = np.array([scores["accuracy"]["value"]]), np.array([scores["n"]])
        low = float(wilson_interval(share, n, scores["confidence"])[0][0])
    passed = low >= gate.min_accuracy
    return Reason(
        "accuracy",
        passed,
        f"{score_text(scores['accuracy'])} on {scores['n']:,} test galaxies: the lower end, {low:.3f}, is "
        f"{'at least' if passed else 'below'} {gate.min_accuracy:g}.",
    )


def _calibration(metrics: Mapping[str, Any] | None, gate: PromoteParams) -> Reason:
    scores, problem = _tested(metrics)
    if scores is None:
        return Reason("calibration", False, problem)
    error = scores["ece"]
    high = error["value"] if error["high"] is None else error["high"]
    passed = high is not None and high <= gate.max_calibration_error
    return Reason(
        "calibration",
        passed,
        f"calibration error {score_text(error)}: the upper end is {'at most' if passed else 'above'} "
        f"{gate.max_calibration_error:g}.",
    )


def _slices(metrics: Mapping[str, Any] | None, gate: PromoteParams) -> Reason:
    if metrics is None or metrics.get("slices") is None:
        return Reason("slices", False, "no slice was scored.")
    looked_at = [
        (slice_name(group, name), found)
        for group, parts in metrics["slices"].items()
        if group not in gate.slices.exempt
        for name, found in parts.items()
    ]
    worse = [(name, found) for name, found in looked_at if found["warning"]]
    too_bad = [(name, found) for name, found in worse if -found["difference"] > gate.slices.max_gap]
    told = [f"{name}: {-100 * found['difference']:.1f} points below the rest" for name, found in too_bad or worse]
    if too_bad:
        limit = f"significantly, and by more than {100 * gate.slices.max_gap:g}"
        return Reason("slices", False, f"answered worse, {limit}: {'; '.join(told)}.")
    if worse:
        limit = f"by no more than {100 * gate.slices.max_gap:g}"
        return Reason("slices", True, f"answered significantly worse, but {limit}: {'; '.join(told)}.")
    return Reason("slices", True, f"none of {len(looked_at)} slices is significantly worse than the rest.")


def _explanations(faithfulness: Mapping[str, Any] | None, gate: PromoteParams) -> Reason:
    asked = gate.explanations
    measured = (faithfulness or {}).get("methods", {})
    methods = [name for name in asked.methods if name in measured]
    if not methods:
        return Reason("explanations", False, f"none of {', '.join(asked.methods)} was checked.")
    verdicts = list(_verdicts(measured, methods, gate))
    stopping = ("failed", "missing", *(("undecided",) if asked.undecided == "refused" else ()))
    bad = [f"{name}, {check}: {why}" for name, check, verdict, why in verdicts if verdict in stopping]
    if bad:
        return Reason("explanations", False, "; ".join(bad))
    left_open = [f"{name}, {check}" for name, check, verdict, _ in verdicts if verdict == "undecided"]
    behind = f" Not decided by so few galaxies: {'; '.join(left_open)}." if left_open else ""
    return Reason("explanations", True, f"{listed(methods)} failed no check ({', '.join(asked.checks)}).{behind}")


def _verdicts(
    measured: Mapping[str, Any], methods: Sequence[str], gate: PromoteParams
) -> Iterator[tuple[str, str, str, str]]:
    """Yield method, check, verdict and its sentence."""
    for name in methods:
        for check in gate.explanations.checks:
            found = measured[name].get("verdicts", {}).get(check)
            yield (name, check, found["verdict"], found["reason"]) if found else (name, check, "missing", "not checked")


def _champion(champion: Champion | None, gate: PromoteParams) -> Reason:
    if champion is None:
        return Reason("champion", True, "there is no champion yet, so there is nothing to be worse than.")
    against = f"against version {champion.version}"
    if champion.paired is None:
        return Reason("champion", False, f"{against}: {champion.problem}")
    paired = champion.paired
    on = f"on {paired.compared:,} of {paired.galaxies:,} galaxies ({_left_out(paired)})"
    if paired.compared < gate.min_galaxies:
        return Reason(
            "champion",
            False,
            f"{against} {on}: too few to tell whether it is worse; {gate.min_galaxies:,} are needed.",
        )
    p = mcnemar(paired.b, paired.c)
    worse = paired.b > paired.c and p < 1 - gate.confidence
    counts = f"the champion alone is right on {paired.b:,}, the candidate alone on {paired.c:,}"
    found = "significantly worse" if worse else "not significantly worse"
    return Reason(
        "champion",
        not worse,
        f"{against} {on}: {counts}; {found} (exact McNemar test, p {p_text(p)}, {percent(gate.confidence)}).",
    )


def _left_out(paired: Paired) -> str:
    parts = [f"{paired.stored:,} by stored answers", f"{paired.asked:,} asked now"]
    parts += [f"{paired.taught:,} left out as the champion was trained on them"] if paired.taught else []
    parts += [f"{paired.unanswered:,} left out without an image to ask it about"] if paired.unanswered else []
    return ", ".join(parts)
