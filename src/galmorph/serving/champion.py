"""The model that answers, and the look-out for the one that takes over from it.

A new champion is fetched, checked and warmed up beside the old one, which goes on answering; then one
assignment puts it in place. Requests hold on to the champion they began with. When the registry is down, names no
version, or names one that cannot be fetched or loaded, the old one stays, and metrics and logs say so: a look without
success is either one at which the registry could not be asked, or a load failure.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from galmorph.errors import GalmorphError
from galmorph.params import ServeParams
from galmorph.serving.exported import CARD, DIGESTS, EXAMPLES, REFERENCE, REPORT
from galmorph.serving.monitoring import Monitor
from galmorph.serving.runtime import Runtime
from galmorph.serving.source import fetched, has_answered, is_registered, resolve
from galmorph.storage import digest_file, read_json

log = logging.getLogger(__name__)

#: The record of the explanation checks, and of the scores, where the export has them.
_FAITHFULNESS, _METRICS = "faithfulness.json", "metrics.json"
#: The method whose maps the runtime gives, as the record of checks calls it.
_METHOD = "grad_cam"
_MAX_EXAMPLES = 12


@dataclass(frozen=True)
class Example:
    """A cutout that visitors of the page may pick: its name, and the image file's content."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Champion:
    """A model that answers, and what is shown of it.

    Attributes
    ----------
    runtime
        The model.
    identity
        Tells it from any other.
    since
        When it took over, seconds since 1970.
    report
        The explanation report, HTML; None: it came without.
    card
        The model card, Markdown; None: it came without.
    reference
        For drift; see `galmorph.evaluation.reference`. None: it came without.
    examples
        In order.
    accuracy
        On the scored galaxies; None: not known.
    verdicts
        Of the explanation checks for the maps that the runtime gives: check to verdict.
    """

    runtime: Runtime
    identity: str
    since: float
    report: bytes | None
    card: str | None
    reference: Mapping[str, Any] | None
    examples: tuple[Example, ...]
    accuracy: float | None
    verdicts: Mapping[str, str]


class ChampionWatch:
    """Holds the current champion and looks for another.

    Attributes
    ----------
    current
        Who answers; None before the first was loaded.
    problem
        Why there is none, or why the one that the registry names did not take over; empty when all is well.
    """

    def __init__(self, params: ServeParams, monitor: Monitor, take_over: Callable[[Champion], None]) -> None:
        """Prepare to watch; `take_over` is called with each new champion before it answers."""
        self.current: Champion | None = None
        self.problem = f"{params.model}: being loaded"
        self._params, self._monitor, self._take_over = params, monitor, take_over
        monitor.ready.set(0)
        self._note_registry(False)

    async def run(self) -> None:
        """Look now, and then every `poll` seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._params.poll)

    async def look(self) -> None:
        """Look once, and let another champion take over where there is one."""
        known = self.current.identity if self.current else None
        try:
            found = await asyncio.to_thread(self._find, known)
        except Exception as error:  # a registry may send anything; the service goes on with what it has
            self._failed(error)
            return
        if found is not None:
            self._take_over(found)
            self.current = found
            facts = found.runtime.facts
            created = datetime.fromisoformat(facts.created).timestamp()
            self._monitor.took_over(facts.name, facts.experiment, facts.data_digest, created)
            log.info("a model took over", extra={"model": facts.name, "digest": facts.model_digest})
        self.problem = ""

    def _failed(self, error: Exception) -> None:
        if self._registry_up:
            self._monitor.load_failures.inc()
        # Once for each problem, not once for each look.
        if str(error) != self.problem:
            expected = isinstance(error, GalmorphError)
            log.error("no other model can take over: %s", error, exc_info=None if expected else error)
        self.problem = str(error) or type(error).__name__

    def _find(self, known: str | None) -> Champion | None:
        """Load the champion unless it is the known one; in a thread."""
        source, identity = self._identity()
        if identity == known:
            return None
        folder = fetched(source, Path(self._params.cache).expanduser())
        runtime = Runtime(folder, self._params.precision, self._params.threads)
        # First answers are slower than the others, and a model that cannot answer must not take over.
        runtime.warm_up()
        return read_champion(folder, runtime, identity)

    def _identity(self) -> tuple[str, str]:
        source = self._params.model
        if not is_registered(source):
            self._note_registry(True)
            digests = Path(source) / DIGESTS
            return source, digest_file(digests) if digests.is_file() else ""
        try:
            version = resolve(source)
        except Exception as error:
            self._note_registry(has_answered(error))
            raise
        self._note_registry(True)
        return version.source, f"{version.source} {version.digest}"

    def _note_registry(self, up: bool) -> None:
        self._registry_up = up
        self._monitor.registry_up.set(up)


def read_champion(folder: Path, runtime: Runtime, identity: str) -> Champion:
    """Read what an exported folder has to show beside the model."""
    report, card, reference = folder / REPORT, folder / CARD, folder / REFERENCE
    images = sorted(path for path in (folder / EXAMPLES).glob("*") if path.is_file())
    return Champion(
        runtime=runtime,
        identity=identity,
        since=time.time(),
        report=report.read_bytes() if report.is_file() else None,
        card=card.read_text() if card.is_file() else None,
        reference=read_json(reference) if reference.is_file() else None,
        examples=tuple(Example(path.stem, path.read_bytes()) for path in images[:_MAX_EXAMPLES]),
        accuracy=_accuracy(folder / _METRICS),
        verdicts=_verdicts(folder / _FAITHFULNESS),
    )


def _accuracy(path: Path) -> float | None:
    if not path.is_file():
        return None
    metrics = read_json(path)
    value = metrics[metrics["scored_split"]]["accuracy"]["value"]
    return None if value is None else float(value)


def _verdicts(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    checks = read_json(path)["methods"].get(_METHOD, {}).get("verdicts", {})
    return {check: str(found["verdict"]) for check, found in checks.items()}
