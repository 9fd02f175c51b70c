"""Prediction at the scale of a survey: shares of a catalogue at the same time, joined and checked. Wiring only."""

from types import SimpleNamespace

from kfp import dsl

import components as do
from pipelines import settings
from pipelines.declared import CHECKPOINTS, PLACEMENT, TRACKING, Parameter, pipeline, sections
from pipelines.placement import afresh, going_on, placed, reading, tracked

_PARAMETERS = {
    "model": Parameter(str, None, "models:/NAME@ALIAS, models:/NAME/VERSION or an exported folder on the volume"),
    "images": Parameter(str, None, "a folder, tar or zip on the volume"),
    "catalogue": Parameter(str, "", "a table on the volume, with ids; empty: every image"),
    "shards": Parameter(int, settings.SHARDS, "shares of the galaxies, each answered by a pod of its own"),
    "volume": Parameter(str, settings.IMAGES_MOUNT, "where the images are; in a cluster the mounted volume"),
    "images_claim": Parameter(str, settings.IMAGES_CLAIM, "the volume claim that the images lie on"),
    **sections(("predict", "serve", "acquire", "validate")),
    **PLACEMENT,
    "checkpoints": CHECKPOINTS,
    **TRACKING,
}


def _wire(given: SimpleNamespace) -> None:
    with dsl.ExitHandler(afresh(do.report_outcome()), name="run"):
        shares = placed(do.list_shards(count=given.shards), given.cpu, given.memory)
        with dsl.ParallelFor(shares.output, name="shares") as share:
            answered = do.predict(
                model=given.model,
                images=given.images,
                catalogue=given.catalogue,
                volume=given.volume,
                shard=share,
                predict_params=given.predict,
                serve_params=given.serve,
                acquire_params=given.acquire,
                validate_params=given.validate,
            )
            # An alias moves, and what lies on a volume changes under its name.
            afresh(placed(answered, given.cpu, given.memory, seconds=settings.LONG))
            tracked(answered, given.tracking, given.tracking_secret)
            reading(going_on(answered, given.checkpoints), given.images_claim)
        joined = do.merge_predictions(parts=dsl.Collected(answered.outputs["predictions"]))
        placed(joined, given.cpu, given.memory)


prediction = pipeline(
    "galmorph-prediction",
    "A catalogue is answered in shares; their tables are joined, and no galaxy is lost or doubled",
    _PARAMETERS,
    _wire,
)
