"""Prediction in a pipeline: shards of a catalogue by themselves, and their tables joined."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from galmorph import params as p
from galmorph.cluster.artifacts import Artifact
from galmorph.cluster.process import component
from galmorph.cluster.running import SOURCE
from galmorph.cluster.values import meant
from galmorph.data.shard import Shard
from galmorph.storage import write_text

#: The table inside the artifact of a shard, and of all; what was rejected lies beside it.
TABLE = "predictions.parquet"


def shards(count: int) -> list[str]:
    """Name the shares of so many workers: `1/3`, `2/3`, `3/3`."""
    with component("shards"):
        return [str(Shard(number, int(count))) for number in range(1, max(1, int(count)) + 1)]


def predict_shard(
    model: str, images: str, catalogue: str, volume: str, shard: str, values: Mapping[str, Any], predictions: Artifact
) -> None:
    """Answer one share of the galaxies.

    Parameters
    ----------
    model
        `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or an exported folder below `volume`.
    images, catalogue
        Below `volume`: a folder, tar or zip, and a table with ids (empty: every image).
    volume
        Where images and folders are mounted.
    shard
        `i/n`.
    values
        The sections predict, serve, acquire and validate.
    predictions
        To be filled with the table, and the list of what was rejected.
    """
    with component(f"predict/{shard.replace('/', '-of-')}") as folder:
        from galmorph.edge.predicting import Asked, predict

        root = Path(volume)
        asked = Asked(
            model=model if model.startswith("models:/") else str(root / model),
            images=root / images,
            output=folder / "predicted" / TABLE,
            catalogue=root / catalogue if catalogue else None,
            shard=Shard.parse(shard),
        )
        params = p.checked(p.PredictParams, p.predict_values(meant(values), SOURCE), SOURCE)
        _hand_over(asked.output.parent, predictions, str(predict(asked, params)))


def merge_shards(parts: Sequence[Artifact], predictions: Artifact, summary: Artifact) -> None:
    """Join the tables of all shards, after checking that no galaxy is lost or doubled.

    Parameters
    ----------
    parts
        Of all shards.
    predictions
        To be filled with the whole table, and the whole list of what was rejected.
    summary
        To be filled with the counts, for a person.
    """
    with component("merge") as folder:
        from galmorph.edge.predicting import merge
        from galmorph.tools.predict import summary as told

        output = folder / "merged" / TABLE
        output.parent.mkdir()
        made = merge([Path(part.path) / TABLE for part in parts], output, None)
        write_text(Path(summary.path), f"{told(made)}\n")
        _hand_over(output.parent, predictions, told(made))


def _hand_over(folder: Path, artifact: Artifact, told: str) -> None:
    print(told)
    target = Path(artifact.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
