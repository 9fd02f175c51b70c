"""The tools that a pipeline uses, on artifacts: search and promotion."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from galmorph import params as p
from galmorph.cluster.artifacts import Artifact, deliver, restore
from galmorph.cluster.process import check_tracking, component
from galmorph.cluster.running import SOURCE
from galmorph.cluster.values import carried, meant
from galmorph.errors import PromotionRefused, TuningError
from galmorph.stages import STAGES
from galmorph.storage import read_json, write_text


def begin_study(data: Iterable[Artifact], values: Mapping[str, Any], workers: int) -> list[dict[str, Any]]:
    """Make the study that workers join.

    Parameters
    ----------
    data
        Splits, and the images and cards of all variants.
    values
        The content of a whole params.yaml.
    workers
        How many there shall be.

    Returns
    -------
    list of dict
        What each of them is told: its `worker` number, and `values`.
    """
    with component("tune/begin") as folder:
        from galmorph.edge.study import refuse_workers_on_sqlite
        from galmorph.edge.study_work import checked_work
        from galmorph.edge.tuning import tune

        check_tracking()
        # With no trial to run the study is made, and no more.
        work = checked_work(p.merged(meant(values), {"tune": {"trials": 0}}), SOURCE)
        refuse_workers_on_sqlite(work.url)
        restore(data, folder)
        print(tune(work, worker=False, make_data=False))
        return [{"worker": str(number), "values": dict(values)} for number in range(1, workers + 1)]


def join_study(data: Iterable[Artifact], values: Mapping[str, Any], worker: str) -> str:
    """Run trials of the study, beside other workers, until it has enough; `worker` tells them apart."""
    with component(f"tune/worker-{worker}") as folder:
        from galmorph.edge.study_work import checked_work
        from galmorph.edge.tuning import tune

        check_tracking()
        restore(data, folder)
        return tune(checked_work(meant(values), SOURCE), worker=True)


def finish_study(data: Iterable[Artifact], values: Mapping[str, Any], found: Artifact) -> dict[str, Any]:
    """Run what trials are missing, report on all, and return the experiments with the best values in them.

    Parameters
    ----------
    data, values
        As for `begin_study`.
    found
        To be filled with what `galmorph tune` leaves.
    """
    with component("tune") as folder:
        from galmorph.edge.study_work import FOLDER, checked_work
        from galmorph.edge.tuning import tune

        check_tracking()
        restore(data, folder)
        print(tune(checked_work(meant(values), SOURCE), worker=False, make_data=False))
        deliver(FOLDER, found)
        best = FOLDER / "best.yaml"
        if not best.is_file():
            raise TuningError(
                "the study ended with no completed trial. Raise tune.timeout or tune.trials. Received: no best values"
            )
        return carried(p.read_values(best)["experiments"])


def ask_gate(registration: Artifact, data: Iterable[Artifact], values: Mapping[str, Any], decision: Artifact) -> bool:
    """Whether the registered version may become the champion; nothing is changed.

    Parameters
    ----------
    registration
        What `register` left.
    data
        The raw images: a champion is asked about those that it has not answered.
    values
        The sections promote and register.
    decision
        To be filled with the reasons, for a person.
    """
    with component("gate") as folder:
        outcome = _held_against_the_gate(registration, data, values, folder, dry_run=True)
        write_text(Path(decision.path), f"```\n{outcome.text}\n```\n")
        return bool(outcome.promoted)


def promote(registration: Artifact, data: Iterable[Artifact], values: Mapping[str, Any], decision: Artifact) -> None:
    """Make the registered version the champion; another may have become it since the gate was asked."""
    with component("promote") as folder:
        outcome = _held_against_the_gate(registration, data, values, folder, dry_run=False)
        write_text(Path(decision.path), f"```\n{outcome.text}\n```\n")
        if not outcome.promoted:
            raise PromotionRefused(
                "the gate refuses the version now; it did not when it was asked before, so the champion is another "
                f"one since. Look at the registry. Received: {outcome.text}"
            )


def _held_against_the_gate(
    registration: Artifact, data: Iterable[Artifact], values: Mapping[str, Any], folder: Path, *, dry_run: bool
) -> Any:
    from galmorph.edge.promoting import Asked
    from galmorph.edge.promoting import promote as hold

    check_tracking()
    given = meant(values)
    gate = p.checked(p.PromoteParams, given["promote"], f"{SOURCE}: promote")
    register = p.checked(p.RegisterParams, given["register"], f"{SOURCE}: register")
    restore([registration, *data], folder)
    made = read_json(Path(STAGES["register"].outputs["registration"]))
    asked = Asked(made["model"], int(made["version"]), made["alias"], forced="", dry_run=dry_run)
    outcome = hold(asked, gate, register.batch_size)
    print(outcome.text)
    return outcome
