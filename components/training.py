"""Components of one experiment: its model, and its scores."""

from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components.base import component


@component
def train(
    splits: Input[Dataset],
    raw: Input[Dataset],
    variants: Input[Dataset],
    model: Output[Model],
    preprocess_params: dict,
    train_params: dict,
    experiments_params: dict,
    experiment: str,
    variant: str,
) -> None:
    """Train one experiment's model; a pod that was taken away is gone on with after its last epoch."""
    from galmorph.cluster.running import run_stage

    run_stage(
        "train",
        [splits, raw, variants],
        {"model": model},
        {"preprocess": preprocess_params, "train": train_params, "experiments": experiments_params},
        row=experiment,
        variant=variant,
    )


@component
def evaluate(
    model: Input[Model],
    splits: Input[Dataset],
    manifest: Input[Dataset],
    raw: Input[Dataset],
    variants: Input[Dataset],
    evaluation: Output[Artifact],
    record: Output[Artifact],
    scores: Output[Metrics],
    curves: Output[ClassificationMetrics],
    evaluate_params: dict,
    experiment: str,
    variant: str,
) -> None:
    """Score one experiment's model on the galaxies it was not trained on."""
    from galmorph.cluster.running import run_stage

    run_stage(
        "evaluate",
        [model, splits, manifest, raw, variants],
        {"evaluation": evaluation, "record": record},
        {"evaluate": evaluate_params},
        row=experiment,
        variant=variant,
        views={"scores": scores, "curves": curves},
    )
