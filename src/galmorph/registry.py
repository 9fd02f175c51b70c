"""The MLflow model registry: versions of the registered model, and their aliases."""

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException

from galmorph.errors import TrackingError


def register_version(model: str, run_id: str, source: str, tags: Mapping[str, str], alias: str) -> ModelVersion:
    """Make a version of a registered model and point an alias at it.

    A version with the same tags is not made again, so that a step that was interrupted can be repeated.

    Parameters
    ----------
    model
        Name of the registered model; made when it is missing.
    run_id
        The run that the model was logged in.
    source
        URI of the logged model.
    tags
        What names the version: digests, experiment, commit.
    alias
        Is moved to this version.

    Returns
    -------
    mlflow.entities.model_registry.ModelVersion

    Raises
    ------
    TrackingError
        When the registry refuses.
    """
    client = MlflowClient()
    try:
        version = _existing(client, model, run_id, tags) or _create(client, model, run_id, source, tags)
        client.set_registered_model_alias(model, alias, version.version)
    except MlflowException as error:
        raise TrackingError(
            f"{model}: the MLflow registry refused the new version. Check MLFLOW_TRACKING_URI and your rights there. "
            f"Received: {error}"
        ) from error
    return client.get_model_version(model, version.version)


def _existing(client: MlflowClient, model: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{model}' and run_id = '{run_id}'")
    return next((version for version in versions if dict(tags).items() <= version.tags.items()), None)


def _create(client: MlflowClient, model: str, run_id: str, source: str, tags: Mapping[str, str]) -> ModelVersion:
    try:
        client.get_registered_model(model)
    except (RestException, MlflowException):
        client.create_registered_model(model, description="Elliptical or Other, from galaxy cutouts (galmorph).")
    return client.create_model_version(model, source, run_id=run_id, tags=dict(tags))
