"""What a study is to do: its parameters, checked before anything is trained."""

import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from galmorph import params as p
from galmorph import storage
from galmorph.edge.study import database
from galmorph.errors import ParamsError
from galmorph.models import tune as core
from galmorph.models.planned import planned_epochs
from galmorph.stage import RAW_IMAGES, VARIANT_IMAGES
from galmorph.stages import STAGES

log = logging.getLogger(__name__)

SPLITS = Path(STAGES["split"].outputs["splits"])
#: Where the files of a study are put.
FOLDER = Path("tuning")
#: What memory is too small for, while the study is under way.
SCRATCH = FOLDER / ".work"


def trial_scratch(scratch: Path, number: int) -> Path:
    """Where a trial may put arrays; it is removed when the trial ends."""
    return scratch / f"trial-{number}"


def sweep(finished: Iterable[int], everything: bool) -> None:
    """Remove what trials left whose process died; `everything`: nobody is at work, the images go too."""
    if everything:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    for number in finished:
        shutil.rmtree(trial_scratch(SCRATCH, number), ignore_errors=True)


@dataclass(frozen=True)
class Work:
    """What a study is to do, checked.

    Attributes
    ----------
    given, source
        The content of a whole params.yaml, and its name.
    tune
        Its section.
    params
        The experiment as it is, its overrides applied.
    space
        What is searched: the part of `tune.space` that the experiment uses.
    url
        Of the study's database.
    """

    given: Mapping[str, Any]
    source: str
    tune: p.TuneParams
    params: p.TrainStageParams
    space: Mapping[str, p.Search]
    url: URL

    @property
    def images(self) -> dict[str, Path]:
        """The folder of each variant that trials may train on."""
        return {
            name: Path(RAW_IMAGES if name == "raw" else VARIANT_IMAGES.format(variant=name))
            for name in core.variants(self.space, self.params)
        }

    @property
    def epochs(self) -> int:
        """Of a trial that is not pruned; at least 1, as where every phase is passed over each trial says so itself."""
        return max(planned_epochs(self.params.train, self.params.experiment), 1)

    def identity(self) -> dict[str, str]:
        """Return what the trials of the study share; the data must be there."""
        cards = {name: STAGES["train"].inputs["card"].format(variant=name) for name in self.images}
        data = {name: storage.read_json(Path(card))["digest"] for name, card in cards.items()}
        data["splits"] = storage.digest_file(SPLITS)
        weights = Path(self.params.train.transfer.weights).expanduser()
        if core.is_used("train.transfer.weights", self.params) and weights.is_file():
            data["weights"] = storage.digest_file(weights)
        return core.identity(self.space, self.params, self.tune.metric, data)


def checked_work(values: Mapping[str, Any], source: str) -> Work:
    """Check everything that can be checked before a study is touched.

    Raises
    ------
    ParamsError
        Naming the key and its value.
    TuningError
        When the storage is no database that is supported.
    """
    params = p.check(dict(values), source)
    name = params.tune.experiment
    if name not in params.experiments:
        raise ParamsError(
            f"{source}: tune.experiment must be a row of experiments: {', '.join(params.experiments)}. "
            f"Received: {name!r}"
        )
    core.check_space(params.tune.space, values, name, source)
    own = core.trial_params(values, name, {}, source)
    space = core.used_space(params.tune.space, own)
    if not space:
        raise ParamsError(f"{source}: tune.space has no key that {name} uses. Received: {', '.join(params.tune.space)}")
    passed_over = [key for key in params.tune.space if key not in space]
    if passed_over:
        log.info("%s does not use %s: not searched", name, ", ".join(passed_over))
    return Work(values, source, params.tune, own, space, database(params.tune.storage))
