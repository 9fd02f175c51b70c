"""The MLflow model registry: versions of the registered model, their aliases, and which of them were champions.

An alias says who is the champion now, and nothing of who was before. Its history is kept beside it, as a tag of the
registered model: version numbers in the order of their promotion, the last one being the champion.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from galmorph.errors import PromotionError, TrackingError

#: What MLflow's store keeps of a description.
MAX_DESCRIPTION = 5000
#: Champions that are remembered: what fits the tag many times over.
_REMEMBERED = 200
_NOT_THERE = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)


def register_version(
    model: str,
    run_id: str,
    log: Callable[[], str],
    identity: Mapping[str, str],
    tags: Mapping[str, str],
    description: str,
) -> ModelVersion:
    """Make a version of a registered model.

    A version of the same identity is not made again, so that a step that was interrupted can be repeated; its other
    tags and its description are brought up to date.

    Parameters
    ----------
    model
        Name of the registered model; made when it is missing.
    run_id
        The run that the model belongs to.
    log
        Logs the model and returns its URI, `models:/<id>`; called when there is no such version yet.
    identity
        Tags that say which model it is: digests, experiment, commit.
    tags
        Further ones.
    description
        Markdown, of `MAX_DESCRIPTION` characters at most.

    Returns
    -------
    mlflow.entities.model_registry.ModelVersion

    Raises
    ------
    TrackingError
        When the registry refuses.
    """
    client = MlflowClient()
    with named_registry_errors(model):
        version = _existing(client, model, run_id, identity) or _create(client, model, run_id, log(), identity)
        for key, value in tags.items():
            client.set_model_version_tag(model, version.version, key, value)
        client.update_model_version(model, version.version, description)
        return client.get_model_version(model, version.version)


def point_alias(version: ModelVersion, alias: str) -> None:
    """Point an alias at a version, wherever it pointed.

    Raises
    ------
    TrackingError
        When the registry refuses.
    """
    with named_registry_errors(version.name):
        MlflowClient().set_registered_model_alias(version.name, alias, version.version)


@contextlib.contextmanager
def named_registry_errors(model: str) -> Iterator[None]:
    """Turn MLflow's errors into a `TrackingError` that names the registered model."""
    try:
        yield
    except MlflowException as error:
        raise TrackingError(
            f"{model}: the MLflow registry refused. Check the name, MLFLOW_TRACKING_URI and your rights there. "
            f"Received: {error}"
        ) from error


def run_of(model: str, identity: Mapping[str, str]) -> str | None:
    """Return the run that the newest version of an identity belongs to; None where there is no such version."""
    with named_registry_errors(model):
        versions = MlflowClient().search_model_versions(
            f"name = '{model}' and tags.model_digest = '{identity['model_digest']}'"
        )
    same = [version for version in versions if dict(identity).items() <= version.tags.items()]
    return max(same, key=lambda version: int(version.version)).run_id if same else None


def _existing(client: MlflowClient, model: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{model}' and run_id = '{run_id}'")
    return next((version for version in versions if dict(tags).items() <= version.tags.items()), None)


def _create(client: MlflowClient, model: str, run_id: str, source: str, tags: Mapping[str, str]) -> ModelVersion:
    with contextlib.suppress(MlflowException):  # it is there already; anything else comes up again below
        client.create_registered_model(model, description="Elliptical or Other, from galaxy cutouts (galmorph).")
    # A server wants the id of the logged model beside the URI that holds it.
    logged = source.removeprefix("models:/")
    return client.create_model_version(model, source, run_id=run_id, tags=dict(tags), model_id=logged)


def version_of(model: str, number: int | None, alias: str) -> ModelVersion:
    """Return a version by its number, or by an alias where no number is given.

    Raises
    ------
    PromotionError
        When there is none.
    TrackingError
        When the registry does not answer.
    """
    client = MlflowClient()
    asked = f"version {number}" if number is not None else f"alias {alias}"
    with named_registry_errors(model):
        try:
            if number is not None:
                return client.get_model_version(model, str(number))
            return client.get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if not _is_missing(error):
                raise
            raise PromotionError(
                f"{model}: there is no such version. `galmorph register` (or `dvc repro`) makes one; check --model, "
                f"--version and MLFLOW_TRACKING_URI. Received: {asked}"
            ) from error


def champion_of(model: str, alias: str) -> int | None:
    """Return the number of the version that an alias points at; None where it points at none."""
    with named_registry_errors(model):
        found = MlflowClient().get_registered_model(model).aliases.get(alias)
    return None if found is None else int(found)


def history_of(model: str, alias: str) -> tuple[int, ...]:
    """Return the versions that the alias pointed at, one after the other, as they were recorded.

    Where it was moved by other means than galmorph, the version that it points at now is the last.
    """
    with named_registry_errors(model):
        registered = MlflowClient().get_registered_model(model)
    history = tuple(int(number) for number in registered.tags.get(_history_tag(alias), "").split())
    current = registered.aliases.get(alias)
    moved = current is not None and history[-1:] != (int(current),)
    return (*history, int(current)) if moved else history


def move_alias(model: str, alias: str, to: int, expected: int | None, history: tuple[int, ...], *, back: bool) -> None:
    """Point an alias at a version and record its history, or say that someone else did so at the same time.

    MLflow has no way to move an alias only if it still points where it did. So a claim is written first and read again
    before and after the move: of two that overlap, on whatever hosts, at least one finds the other's.

    Parameters
    ----------
    to, expected
        The version it shall point at, and the one it must point at until then (None: nowhere).
    history
        What is recorded afterwards, `to` being the last.
    back
        Whether that is shorter than what is recorded now. Cut short between its two writes, the move must leave the
        shorter of both: `history_of` puts the version that the alias points at behind it, which is true again.

    Raises
    ------
    PromotionError
        When another process moved or claimed the alias in between.
    """
    client, claim = MlflowClient(), uuid.uuid4().hex
    with named_registry_errors(model):
        client.set_registered_model_tag(model, _claim_tag(alias), claim)
        _check_alone(client, model, alias, expected, claim, "nothing was moved")
        recorded = " ".join(map(str, history[-_REMEMBERED:]))
        if back:
            client.set_registered_model_tag(model, _history_tag(alias), recorded)
        client.set_registered_model_alias(model, alias, str(to))
        if not back:
            client.set_registered_model_tag(model, _history_tag(alias), recorded)
        _check_alone(client, model, alias, to, claim, f"version {to} may or may not be the {alias}")


def _check_alone(client: MlflowClient, model: str, alias: str, expected: int | None, claim: str, state: str) -> None:
    registered = client.get_registered_model(model)
    current = registered.aliases.get(alias)
    wanted = None if expected is None else str(expected)
    if registered.tags.get(_claim_tag(alias)) != claim or (None if current is None else str(current)) != wanted:
        raise PromotionError(
            f"{model}: someone else moved the alias {alias} at the same time; {state}. Look who is the {alias} now, "
            f"and run the command again. Received: {alias} is version {current}, expected was {wanted}"
        )


def _history_tag(alias: str) -> str:
    return f"{alias}_history"


def _claim_tag(alias: str) -> str:
    return f"{alias}_claim"


def _is_missing(error: MlflowException) -> bool:
    # An alias that is not there is an invalid parameter to MLflow, and no missing resource.
    return error.error_code == _NOT_THERE or "not found" in str(error)
