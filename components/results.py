"""Components of all experiments together: the leaderboard, and the best one's checks, explanations and version."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Model, Output

from components.base import component


@component
def compare(
    evaluations: Input[list[Artifact]],
    records: Input[list[Artifact]],
    raw: Input[Dataset],
    leaderboard: Output[HTML],
    table: Output[Markdown],
    complexity: Output[Artifact],
    mistakes: Output[Artifact],
    best: Output[Artifact],
    compare_params: dict,
    evaluate_params: dict,
    register_params: dict,
    experiments_params: dict,
) -> None:
    """Rank the experiments beside the published figures, and choose the best on validation."""
    from galmorph.cluster.running import run_stage

    values = {
        "compare": compare_params,
        "evaluate": evaluate_params,
        "register": register_params,
        "experiments": experiments_params,
    }
    outputs = {"leaderboard": leaderboard, "complexity": complexity, "mistakes": mistakes, "best": best}
    run_stage("compare", [*evaluations, *records, raw], outputs, values, views={"table": table})


@component
def robustness(
    best: Input[Artifact],
    models: Input[list[Model]],
    evaluations: Input[list[Artifact]],
    raw: Input[Dataset],
    variants: Input[Dataset],
    robustness: Output[Artifact],
    robustness_params: dict,
) -> None:
    """Score the best model on cutouts that are degraded."""
    from galmorph.cluster.running import run_stage

    inputs = [best, *models, *evaluations, raw, variants]
    run_stage("robustness", inputs, {"robustness": robustness}, {"robustness": robustness_params})


@component
def explain(
    best: Input[Artifact],
    models: Input[list[Model]],
    evaluations: Input[list[Artifact]],
    manifest: Input[Dataset],
    raw: Input[Dataset],
    variants: Input[Dataset],
    explanations: Output[Artifact],
    report_page: Output[HTML],
    explain_params: dict,
) -> None:
    """Explain the best model's answers, and check the explanations."""
    from galmorph.cluster.running import run_stage

    inputs = [best, *models, *evaluations, manifest, raw, variants]
    views = {"report_page": report_page}
    run_stage("explain", inputs, {"explanations": explanations}, {"explain": explain_params}, views=views)


@component
def register(
    best: Input[Artifact],
    models: Input[list[Model]],
    evaluations: Input[list[Artifact]],
    robustness: Input[Artifact],
    explanations: Input[Artifact],
    splits: Input[Dataset],
    manifest: Input[Dataset],
    raw: Input[Dataset],
    variants: Input[Dataset],
    registration: Output[Artifact],
    summary: Output[Markdown],
    register_params: dict,
    explain_params: dict,
) -> None:
    """Make the best model a version of the registered model, with its reports and card."""
    from galmorph.cluster.running import run_stage

    inputs = [best, *models, *evaluations, robustness, explanations, splits, manifest, raw, variants]
    values = {"register": register_params, "explain": explain_params}
    run_stage("register", inputs, {"registration": registration}, values, views={"summary": summary})
