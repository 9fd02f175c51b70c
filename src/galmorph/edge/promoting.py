"""What `galmorph promote` and `galmorph rollback` read, decide and move."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from galmorph.edge.evidence import FOLDER, read_candidate, read_evidence
from galmorph.edge.locking import one_at_a_time
from galmorph.errors import PromotionError
from galmorph.params import PromoteParams
from galmorph.promotion.decision import Champion, Decision, decide
from galmorph.promotion.galaxies import pair, unanswered, untaught
from galmorph.registry import champion_of, history_of, move_alias, named_registry_errors, version_of
from galmorph.storage import digest_file, image_path, read_image

#: Where the raw images of the candidate's galaxies are looked for.
RAW_IMAGES = Path("data/raw/images")
_LONGEST_TAG = 500
#: Tags that would be wrong after another attempt.
_OF_AN_EARLIER_TIME = frozenset({"promoted_over", "promotion_forced", "rolled_back_at", "rolled_back_reason"})


@dataclass(frozen=True)
class Asked:
    """Which version shall be promoted, and how.

    Attributes
    ----------
    model
        The registered model.
    number, alias
        The version: its number or, where that is None, an alias that points at it.
    forced
        Why it shall become the champion whatever the gate says; empty: it shall not.
    dry_run
        Decide and say so, and change nothing.
    """

    model: str
    number: int | None
    alias: str
    forced: str
    dry_run: bool


@dataclass(frozen=True)
class Outcome:
    """What came of it: whether the version is the champion (or would be), and the reasons in words."""

    promoted: bool
    text: str


def promote(asked: Asked, gate: PromoteParams, batch_size: int) -> Outcome:
    """Hold a version against the gate, record how it fell, and make it the champion if it may be.

    Parameters
    ----------
    asked
        Which version.
    gate
        What it must show.
    batch_size
        Images that the champion is asked about at a time.

    Raises
    ------
    PromotionError
        When there is no such version, or someone else moved the alias meanwhile.
    TrackingError
        When the registry or the artifacts cannot be reached.
    """
    with one_at_a_time("promotion", _registry(), asked.model):
        version = version_of(asked.model, asked.number, asked.alias)
        number = int(version.version)
        current = champion_of(asked.model, gate.alias)
        if current == number:
            return Outcome(True, f"version {number} of {asked.model} is the {gate.alias} already")
        decision = decide(read_candidate(version), _champion(version, current, gate, asked.model, batch_size), gate)
        promoted = decision.promote or bool(asked.forced)
        if not asked.dry_run:
            _record(version, decision, current, promoted, asked.forced)
            if promoted:
                history = (*history_of(asked.model, gate.alias), number)
                move_alias(asked.model, gate.alias, number, current, history, back=False)
                _tag(version, {"promotion": "promoted" if decision.promote else "forced"})
        return Outcome(promoted, _told(asked, version, current, decision, gate.alias))


def rollback(model: str, alias: str, reason: str) -> str:
    """Bring back the champion that was there before, and return what was done in words.

    Raises
    ------
    PromotionError
        When none is recorded, it is gone, or someone else moved the alias meanwhile.
    """
    with one_at_a_time("promotion", _registry(), model):
        current, history = champion_of(model, alias), history_of(model, alias)
        # Where the alias was taken away, the last that had it comes back.
        earlier = history if current is None else history[:-1]
        if not earlier:
            raise PromotionError(
                f"{model}: no earlier {alias} is recorded, so there is nothing to go back to. Promote a version: "
                f"galmorph promote --version N. Received: {alias} is version {current or 'none'}"
            )
        back = version_of(model, earlier[-1], alias)
        move_alias(model, alias, int(back.version), current, earlier, back=True)
        if current is not None:
            _tag(
                version_of(model, current, alias),
                {"promotion": "rolled back", "rolled_back_at": _now(), "rolled_back_reason": reason or "not given"},
            )
        replaced = "" if current is None else f" in the place of version {current}"
        return f"version {back.version} of {model} ({back.tags.get('experiment')}) is the {alias} again{replaced}"


def _champion(
    candidate: ModelVersion, current: int | None, gate: PromoteParams, model: str, batch_size: int
) -> Champion | None:
    """Compare the candidate with the champion, galaxy by galaxy."""
    if current is None:
        return None
    version = version_of(model, current, gate.alias)
    own, problem = read_evidence(candidate)
    if own is None:
        return Champion(current, None, f"of the candidate, {problem}")
    other, problem = read_evidence(version)
    if other is None:
        return Champion(current, None, f"of the champion, {problem}")
    asked = _ask(version, unanswered(untaught(own.scored, other.taught), other.scored), batch_size)
    return Champion(current, pair(own.scored, other.taught, other.scored, asked), "")


def _ask(champion: ModelVersion, galaxies: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """Let the champion's model answer galaxies that it has not answered yet, as far as their images are here."""
    named = zip(galaxies["CATAID"], galaxies["sha256"], strict=True)
    here = galaxies[np.array([_is_here(*one) for one in named], bool)]
    if here.empty:
        return pd.DataFrame({"sha256": [], "predicted": []}, dtype=str)
    # Only now: TensorFlow takes seconds to load, and mostly all answers are stored.
    from galmorph.edge.answering import answer_cutouts

    cutouts = (read_image(image_path(RAW_IMAGES, cataid)) for cataid in here["CATAID"])
    predicted = answer_cutouts(f"models:/{champion.name}/{champion.version}", cutouts, batch_size)
    return here[["sha256"]].assign(predicted=predicted)


def _is_here(cataid: str, sha256: str) -> bool:
    path = image_path(RAW_IMAGES, cataid)
    return path.is_file() and digest_file(path) == sha256


def _record(version: ModelVersion, decision: Decision, current: int | None, promoted: bool, forced: str) -> None:
    """Keep the reasons with the version, as an artifact of its run and as tags."""
    now = _now()
    content: dict[str, Any] = {
        "at": now,
        "model": version.name,
        "version": int(version.version),
        "champion": current,
        "gate": "passed" if decision.promote else "refused",
        "promoted": promoted,
        "forced": forced,
        "reasons": [vars(reason) for reason in decision.reasons],
    }
    with named_registry_errors(version.name):
        MlflowClient().log_dict(version.run_id, content, f"{FOLDER}/decisions/{now}.json")
    tags = {f"gate_{r.check}": f"{'passed' if r.passed else 'failed'}: {r.text}" for r in decision.reasons}
    # `promoting` becomes `promoted` when the alias has moved: who finds it was interrupted in between.
    tags |= {"promotion": "promoting" if promoted else "refused", "promotion_at": now}
    tags |= {"promoted_over": str(current or "nobody")} if promoted else {}
    tags |= {"promotion_forced": forced} if forced else {}
    with named_registry_errors(version.name):
        for key in _OF_AN_EARLIER_TIME & version.tags.keys():
            MlflowClient().delete_model_version_tag(version.name, version.version, key)
    _tag(version, tags)


def _tag(version: ModelVersion, tags: dict[str, str]) -> None:
    with named_registry_errors(version.name):
        for key, value in tags.items():
            MlflowClient().set_model_version_tag(version.name, version.version, key, value[:_LONGEST_TAG])


def _told(asked: Asked, version: ModelVersion, current: int | None, decision: Decision, alias: str) -> str:
    against = "no champion yet" if current is None else f"the {alias} is version {current}"
    lines = [f"version {version.version} of {asked.model} ({version.tags.get('experiment', 'unknown')}); {against}", ""]
    lines += [f"  {'passed' if r.passed else 'FAILED'}  {r.check:<13} {r.text}" for r in decision.reasons]
    if decision.promote or asked.forced:
        by = "" if decision.promote else f", by force: {asked.forced}"
        end = f"{'would be' if asked.dry_run else 'is'} the {alias}{by}"
    else:
        end = f"{'would not be' if asked.dry_run else 'is not'} promoted: {', '.join(decision.failed)}"
    return "\n".join([*lines, "", f"version {version.version} {end}"])


def _registry() -> str:
    """Name the registry the same way from wherever its processes were started."""
    uri = str(mlflow.get_registry_uri())
    kind, _, path = uri.partition(":///")
    return f"{kind}:///{Path(path).resolve()}" if kind == "sqlite" else uri


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
