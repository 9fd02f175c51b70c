"""The switches that keep the tools from calling home, models free of pickles, logs readable and GPUs shared."""

import importlib
import logging
import os
import sys
from types import ModuleType
from typing import Any

#: Set by the command line where the environment does not say otherwise.
QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # TensorFlow takes the whole of a GPU otherwise. Asked for here, it holds for every command, whatever wakes
    # TensorFlow first: its own call is refused once it has looked at the GPU.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def settle() -> None:
    """Make this process as quiet as its environment leaves open, and let galmorph's log go to standard error."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # It reports every function that it registers.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)


def openvino() -> ModuleType:
    """Import OpenVINO so that it does not call home.

    `import openvino` sends an event and keeps an identifier in `~/intel`. No environment variable stops it, only a file
    in the user's home, which is not ours to write. Where its sender cannot be imported it uses one that does nothing.
    Whoever needs OpenVINO asks for it here; a process that imported it before has reported already.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)
    return importlib.import_module("openvino")
