"""The process of a component: quiet tools, a working folder, and a last word that says what went wrong."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from galmorph.cpu import core_count
from galmorph.errors import GalmorphError, StorageError, TrackingError
from galmorph.quiet import settle

#: Kubernetes shows what a container leaves here as the reason of its end, up to so many bytes.
TERMINATION_LOG = Path("/dev/termination-log")
_LONGEST_MESSAGE = 4096
#: A folder that outlives the pod, and what the run of the pipeline is called: with both, a retried component goes on.
CHECKPOINTS, RUN = "GALMORPH_CHECKPOINTS", "GALMORPH_PIPELINE_RUN"
#: Libraries read these, and start a thread for each of the node's cores where they are not set.
_THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
#: Without these MLflow writes into the working folder, which is gone at the end.
_TRACKING = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")


@contextlib.contextmanager
def component(name: str) -> Iterator[Path]:
    """Run the body of a component in a working folder of its own.

    Parameters
    ----------
    name
        Of the component, and of its row where it has one: what is worked on again after a retry.

    Yields
    ------
    Path
        The working folder, which is the current one inside the block. It is removed at the end, but where it outlives
        the pod and the block fails.

    Raises
    ------
    SystemExit
        In the place of a `GalmorphError`, with its message: whoever looks at the failed component reads that last, on
        standard error and as the reason of the container's end, and no stack trace.
    """
    settle()
    for variable in _THREADS:
        os.environ.setdefault(variable, str(core_count()))
    # A pod that is taken away is told so first: unwinding removes what is temporary.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _working_folder(name) as folder:
            yield folder
    except GalmorphError as error:
        message = f"galmorph: {name}: {error}"
        _leave_word(message)
        raise SystemExit(message) from error
    except Exception as error:
        _leave_word(f"galmorph: {name}: unexpected {type(error).__name__}: {error}; the log has the stack trace")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def check_tracking() -> None:
    """Refuse to log where it would be lost.

    Raises
    ------
    TrackingError
        When the environment names no tracking server.
    """
    if not os.environ.get(_TRACKING[0]):
        raise TrackingError(
            f"no MLflow server is named, and what is logged here would be lost. Set {_TRACKING[0]}: by the ConfigMap "
            "of the pipeline's parameter `tracking`, or let the administrator switch on MLflow in Kubeflow Pipelines. "
            f"Received: {', '.join(f'{name}={os.environ.get(name)}' for name in _TRACKING)}"
        )


@contextlib.contextmanager
def _working_folder(name: str) -> Iterator[Path]:
    kept = _kept_folder(name)
    folder = kept or Path(tempfile.mkdtemp(prefix=f"galmorph-{name.replace('/', '-')}-"))
    before = Path.cwd()
    os.chdir(folder)
    finished = False
    try:
        yield folder
        finished = True
    finally:
        os.chdir(before)
        if finished or kept is None:
            shutil.rmtree(folder, ignore_errors=True)


def _kept_folder(name: str) -> Path | None:
    root, run = os.environ.get(CHECKPOINTS), os.environ.get(RUN)
    if not (root and run):
        return None
    folder = Path(root) / run / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: what is half done cannot be kept there. Check the volume of the pipeline's parameter "
            f"`checkpoints`, and that user {os.geteuid()} may write to it. Received: {error}"
        ) from error
    return folder


def _leave_word(message: str) -> None:
    # Outside of a cluster there is no such file; a message is no reason to fail twice.
    if TERMINATION_LOG.exists():
        with contextlib.suppress(OSError):
            TERMINATION_LOG.write_bytes(message.encode()[:_LONGEST_MESSAGE])


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
