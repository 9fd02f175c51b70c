"""Where and how the tasks of a pipeline run: resources, volumes, retries, what may be cached."""

from typing import Any

from kfp import dsl, kubernetes

from galmorph.cluster.process import CHECKPOINTS, RUN
from pipelines import settings

#: Keys of the ConfigMap and the Secrets; each becomes the environment variable of that name.
_TRACKING_KEYS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    # Whether files go between a pod and the store directly, which not every network lets them.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD",
)
_TRACKING_SECRETS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_METRICS_PORT = "GALMORPH_METRICS_PORT"
_DATA_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")


def placed(
    task: dsl.PipelineTask, cpu: Any, memory: Any, *, seconds: int = settings.SHORT, again: bool = True
) -> dsl.PipelineTask:
    """Give a task its resources and a time-out, and let it be tried again after a pause, unless that is no use."""
    # The compiler hands a group of tasks what its tasks read, and overlooks what they are placed by.
    task.register_pipeline_channels([cpu, memory])
    task.set_cpu_request(cpu)
    # `galmorph.cpu.core_count` reads it in the pod: else each would start as much at once as its node has cores.
    task.set_cpu_limit(cpu)
    task.set_memory_request(memory)
    task.set_memory_limit(memory)
    if again:
        task.set_retry(
            num_retries=settings.RETRIES,
            backoff_duration=settings.BACKOFF,
            backoff_factor=settings.BACKOFF_FACTOR,
            backoff_max_duration=settings.LONGEST_BACKOFF,
        )
    return kubernetes.set_timeout(task, seconds)


def on_gpu(task: dsl.PipelineTask, gpu_type: Any, gpus: Any, node_selector: Any, tolerations: Any) -> dsl.PipelineTask:
    """Let a task have GPUs, on the nodes that have them."""
    task.register_pipeline_channels([gpu_type, gpus])
    task.set_accelerator_type(gpu_type)
    task.set_accelerator_limit(gpus)
    kubernetes.add_node_selector_json(task, node_selector)
    return kubernetes.add_toleration_json(task, tolerations)


def going_on(task: dsl.PipelineTask, claim: Any) -> dsl.PipelineTask:
    """Keep what a task has half done on a volume, so that its next pod goes on from there."""
    kubernetes.mount_pvc(task, claim, settings.CHECKPOINTS_MOUNT)
    task.set_env_variable(CHECKPOINTS, settings.CHECKPOINTS_MOUNT)
    return kubernetes.use_field_path_as_env(task, RUN, "metadata.labels['pipeline/runid']")


def watched(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let Prometheus watch a training: its pod's label says at which port, to the process as to infra/k8s's monitor.

    The local runner, which gives its processes no labels, opens no port.
    """
    kubernetes.add_pod_label(task, settings.METRICS_LABEL, settings.METRICS_PORT)
    return kubernetes.use_field_path_as_env(task, _METRICS_PORT, f"metadata.labels['{settings.METRICS_LABEL}']")


def tracked(task: dsl.PipelineTask, config: Any, secret: Any) -> dsl.PipelineTask:
    """Tell a task where MLflow is; neither has to be there where Kubeflow Pipelines itself does."""
    kubernetes.use_config_map_as_env(task, config, {key: key for key in _TRACKING_KEYS}, optional=True)
    return kubernetes.use_secret_as_env(task, secret, {key: key for key in _TRACKING_SECRETS}, optional=True)


def searching(task: dsl.PipelineTask, secret: Any) -> dsl.PipelineTask:
    """Give a task the password of the study's database."""
    return kubernetes.use_secret_as_env(task, secret, {"PGPASSWORD": "PGPASSWORD"}, optional=True)


def pulling(task: dsl.PipelineTask, secret: Any) -> dsl.PipelineTask:
    """Give a task what the DVC remote asks for."""
    return kubernetes.use_secret_as_env(task, secret, {key: key for key in _DATA_SECRETS}, optional=True)


def afresh(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Never take a task's result from the cache: it depends on more than its inputs, or does more than it returns."""
    task.set_caching_options(enable_caching=False)
    return task


def reading(task: dsl.PipelineTask, claim: Any) -> dsl.PipelineTask:
    """Give a task the volume that images to predict lie on."""
    return kubernetes.mount_pvc(task, claim, settings.IMAGES_MOUNT)
