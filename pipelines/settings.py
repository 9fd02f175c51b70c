"""What depends on the cluster, in one place: the image, and the defaults of the pipelines' own parameters.

Values of the stages are not here: they are read from params.yaml when a pipeline is compiled.
"""

import os
from pathlib import Path
from typing import Any

from galmorph import __version__
from galmorph.cluster.values import carried
from galmorph.params import check, read_values

#: The environment variable that names the image; and nobody's registry, which the repository's own pipelines name.
IMAGE_NAME, NOBODYS = "GALMORPH_IMAGE", "registry.example.org/"
#: Every component runs in it: infra/docker's target train or train-cpu. Whoever deploys pins it by digest.
IMAGE = os.environ.get(IMAGE_NAME) or f"{NOBODYS}galmorph/train-cpu:{__version__}"

PARAMS_FILE = Path("params.yaml")


def stage_defaults(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """Read the sections of params.yaml as a run's parameters carry them."""
    values = read_values(path)
    check(values, str(path))
    return carried(values)


#: Where volumes are mounted in a pod.
CHECKPOINTS_MOUNT, IMAGES_MOUNT = "/checkpoints", "/images"

#: The claim (ReadWriteMany) that keeps what is half done, so that a pod that was taken away is gone on with.
CHECKPOINTS_CLAIM = "galmorph-checkpoints"
#: The claim that images to predict lie on.
IMAGES_CLAIM = "galmorph-images"
#: ConfigMap and Secrets, by name: their keys are environment variables. None has to be there.
TRACKING_CONFIG = "galmorph-tracking"
TRACKING_SECRET = "galmorph-tracking"  # noqa: S105 - the name of a Secret
DATABASE_SECRET = "galmorph-tuning-database"  # noqa: S105 - the name of a Secret
DATA_SECRET = "galmorph-data-remote"  # noqa: S105 - the name of a Secret

#: What a pod asks for.
CPU, MEMORY = "2", "6Gi"
TRAIN_CPU, TRAIN_MEMORY = "4", "16Gi"
GPU_TYPE, GPU_COUNT = "nvidia.com/gpu", "0"

#: Where a pod that trains shows its metrics, and the label of the pod that says so to Prometheus.
METRICS_PORT, METRICS_LABEL = "9108", "galmorph/metrics-port"

#: A pod that was taken away or failed is started again, after a pause that doubles.
RETRIES, BACKOFF, BACKOFF_FACTOR, LONGEST_BACKOFF = 3, "60s", 2.0, "900s"
#: Seconds after which a pod is stopped: it hangs.
SHORT, LONG = 4 * 3600, 48 * 3600

#: Processes that run trials at the same time, and shards of a catalogue.
TUNE_WORKERS, SHARDS = 4, 8
