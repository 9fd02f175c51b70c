"""Components of prediction at the scale of a survey."""

from kfp.dsl import Dataset, Input, Markdown, Output

from components.base import component


@component
def list_shards(count: int) -> list:
    """Name the shares of a catalogue, for the loop over them."""
    from galmorph.cluster.prediction import shards

    return shards(count)


@component
def predict(
    predictions: Output[Dataset],
    model: str,
    images: str,
    catalogue: str,
    volume: str,
    shard: str,
    predict_params: dict,
    serve_params: dict,
    acquire_params: dict,
    validate_params: dict,
) -> None:
    """Answer one share of the galaxies."""
    from galmorph.cluster.prediction import predict_shard

    values = {
        "predict": predict_params,
        "serve": serve_params,
        "acquire": acquire_params,
        "validate": validate_params,
    }
    predict_shard(model, images, catalogue, volume, shard, values, predictions)


@component
def merge_predictions(parts: Input[list[Dataset]], predictions: Output[Dataset], summary: Output[Markdown]) -> None:
    """Join the tables of all shares, after checking that no galaxy is lost or doubled."""
    from galmorph.cluster.prediction import merge_shards

    merge_shards(parts, predictions, summary)
