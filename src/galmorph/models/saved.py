"""The model file: Keras's own `.keras` archive with galmorph's facts inside, so that one file says all of itself."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
from pydantic import ValidationError

from galmorph.errors import ModelError
from galmorph.models.recipe import Recipe
from galmorph.params import DenoiserParams, PreprocessParams, Section
from galmorph.storage import replacing

#: What the file is called in the folder of its experiment.
MODEL_FILE = "model.keras"
#: The member of the archive that holds the facts; Keras reads its own members by name and passes over this one.
FACTS_MEMBER = "galmorph.json"


class ModelFacts(Section):
    """What a model must be used with, and where it comes from.

    Attributes
    ----------
    preprocess
        The crop and size that the model was trained with.
    denoiser
        What made the variant's images of the raw ones: any image that the model is asked about goes through it first.
        None for `raw`.
    temperature
        Fitted on validation.
    recipe
        How it was trained.
    data_digest
        Of the images and labels of its variant; `params_digest` of the values it was trained with.
    run_id
        The MLflow run that trained it.
    """

    galmorph: str
    experiment: str
    architecture: str
    variant: str
    preprocess: PreprocessParams
    denoiser: DenoiserParams | None
    temperature: float
    recipe: Recipe
    seed: int
    data_digest: str
    params_digest: str
    git_commit: str | None
    run_id: str | None


def save_model(path: Path, model: keras.Model, facts: ModelFacts) -> None:
    """Write model and facts as one `.keras` file, whole or not at all."""
    with replacing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(FACTS_MEMBER, facts.model_dump_json(indent=2))


def uncompiled(model: keras.Model) -> keras.Model:
    """Return a model of the same layers that was never compiled: no loss and no optimiser are copied or saved with it.

    What training minimises may be a class of ours, which a file must not need.
    """
    return keras.Model(model.input, model.output, name=model.name)


def load_facts(path: Path) -> ModelFacts:
    """Read a model file's facts without loading the model.

    Raises
    ------
    ModelError
        When the file is missing, broken or not galmorph's.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file. Run `galmorph train EXPERIMENT` first.")
    try:
        with zipfile.ZipFile(path) as archive:
            return ModelFacts.model_validate(json.loads(archive.read(FACTS_MEMBER)))
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path}: broken, or not a .keras file. Train the model again. Received: {error}") from error
    except (KeyError, ValidationError) as error:
        raise ModelError(
            f"{path}: a .keras file that this galmorph did not write ({FACTS_MEMBER} is missing or of another "
            f"version), so how to crop images for it is not known. Train the model again. Received: {error}"
        ) from error


def load_model(path: Path) -> tuple[keras.Model, ModelFacts]:
    """Read model and facts, in Keras's safe mode: a file can hold no code that loading runs.

    Raises
    ------
    ModelError
        When the file is missing, broken, unsafe or not galmorph's.
    """
    facts = load_facts(path)
    return load_keras(path), facts


def load_keras(path: Path, **options: Any) -> keras.Model:
    """Read the Keras model alone, in safe mode."""
    try:
        return keras.saving.load_model(path, safe_mode=True, **{"compile": False, **options})
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise ModelError(
            f"{path}: Keras cannot load it, or refuses to (safe mode allows no code in a model). "
            f"Train the model again. Received: {str(error)[:300]}"
        ) from error
