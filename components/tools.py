"""Components that are no stages: the check of a run's values, the search, and promotion."""

from kfp.dsl import Artifact, Dataset, Input, Markdown, Output

from components.base import component


@component
def check_params(
    acquire_params: dict,
    validate_params: dict,
    split_params: dict,
    denoise_params: dict,
    preprocess_params: dict,
    train_params: dict,
    experiments_params: dict,
    evaluate_params: dict,
    compare_params: dict,
    robustness_params: dict,
    explain_params: dict,
    register_params: dict,
    promote_params: dict,
    predict_params: dict,
    serve_params: dict,
    tune_params: dict,
) -> dict:
    """Check the values of all stages together, before the first one starts."""
    from galmorph.cluster.running import check_values

    return check_values(
        {
            "acquire": acquire_params,
            "validate": validate_params,
            "split": split_params,
            "denoise": denoise_params,
            "preprocess": preprocess_params,
            "train": train_params,
            "experiments": experiments_params,
            "evaluate": evaluate_params,
            "compare": compare_params,
            "robustness": robustness_params,
            "explain": explain_params,
            "register": register_params,
            "promote": promote_params,
            "predict": predict_params,
            "serve": serve_params,
            "tune": tune_params,
        }
    )


@component
def list_experiments(experiments_params: dict) -> list:
    """List the experiments, each with its variant and values, for the loop over them."""
    from galmorph.cluster.running import experiment_rows

    return experiment_rows(experiments_params)


@component
def begin_study(
    splits: Input[Dataset],
    raw: Input[Dataset],
    variants: Input[Dataset],
    values: dict,
    workers: int,
) -> list:
    """Make the study that workers join, and say what each of them is to do."""
    from galmorph.cluster.tools import begin_study

    return begin_study([splits, raw, variants], values, workers)


@component
def join_study(
    splits: Input[Dataset],
    raw: Input[Dataset],
    variants: Input[Dataset],
    values: dict,
    worker: str,
) -> str:
    """Run trials of the study, beside other workers."""
    from galmorph.cluster.tools import join_study

    return join_study([splits, raw, variants], values, worker)


@component
def finish_study(
    splits: Input[Dataset],
    raw: Input[Dataset],
    variants: Input[Dataset],
    found: Output[Artifact],
    values: dict,
    workers: list,  # noqa: ARG001 - that they have ended
) -> dict:
    """Report on the study, and return the experiments with the best values in them."""
    from galmorph.cluster.tools import finish_study

    return finish_study([splits, raw, variants], values, found)


@component
def keep_experiments(experiments_params: dict) -> dict:
    """Return the experiments as they are: no search was asked for."""
    return experiments_params


@component
def gate(
    registration: Input[Artifact],
    raw: Input[Dataset],
    decision: Output[Markdown],
    promote_params: dict,
    register_params: dict,
) -> bool:
    """Say whether the registered version may become the champion, and why."""
    from galmorph.cluster.tools import ask_gate

    return ask_gate(registration, [raw], {"promote": promote_params, "register": register_params}, decision)


@component
def promote(
    registration: Input[Artifact],
    raw: Input[Dataset],
    decision: Output[Markdown],
    promote_params: dict,
    register_params: dict,
) -> None:
    """Make the registered version the champion."""
    from galmorph.cluster.tools import promote

    promote(registration, [raw], {"promote": promote_params, "register": register_params}, decision)
