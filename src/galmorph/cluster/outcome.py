"""How a run of a pipeline ended, in words."""

from pathlib import Path

from galmorph.cluster.artifacts import Artifact
from galmorph.cluster.process import component
from galmorph.storage import write_text

#: What Kubeflow Pipelines calls a run that came to a good end.
_SUCCEEDED = frozenset({"SUCCEEDED", "COMPLETE"})


def report(state: str, message: str | None, outcome: Artifact) -> None:
    """Write how the run ended, for a person, and to the log for whatever watches that.

    Parameters
    ----------
    state
        As Kubeflow Pipelines has it.
    message
        What it says of a failure, where it says something.
    outcome
        To be filled.
    """
    with component("report_outcome"):
        if state in _SUCCEEDED:
            text = "The run succeeded."
        else:
            text = f"The run ended as {state}.\n\n{message or 'The failed component says why: see its log.'}"
        print(f"galmorph: {text}")
        write_text(Path(outcome.path), f"{text}\n")
