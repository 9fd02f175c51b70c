"""The stages of the pipeline: each reads files, calls the core, writes files.

`STAGES` is the one list of them. The command line is generated from it, and a contract test holds dvc.yaml, MLproject
and the other runners to it. Nothing below this module (and `storage`) knows a path.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from galmorph import params as p
from galmorph import storage
from galmorph.edge import acquire_archive, acquire_cutouts, acquire_simulated
from galmorph.errors import ParamsError
from galmorph.stage import Stage, paths, rows, stage_values

#: Says where the galaxies of `data/raw` come from; every variant's card repeats it.
SOURCE_FILE = "source.json"


def acquire(raw: Path, params: p.AcquireParams) -> None:
    """Simulate, unpack or fetch galaxies: a catalogue and an image each."""
    sources = {
        "simulate": acquire_simulated.fill,
        "archive": acquire_archive.fill,
        "cutouts": acquire_cutouts.fill,
    }
    # What lies at the path is part of the work: after a change there, an interrupted run must not go on.
    given = acquire_archive.identity(params) if params.source == "archive" else []
    work = storage.fingerprint("acquire", params.model_dump(mode="json"), given)
    with storage.output_folder(raw, work) as folder:
        sources[params.source](folder, params)
        name = "" if params.source == "simulate" else f" {params.path.name}"
        storage.write_json(folder / SOURCE_FILE, {"source": params.source + name})


def validate(raw: Path, manifest: Path, card: Path, report: Path, params: p.ValidateParams) -> None:
    """Measure every image, quarantine what cannot be used, and stop when the data as a whole is not fit."""
    from galmorph.edge import validation

    source = storage.read_json(raw / SOURCE_FILE)
    table = validation.validate_raw(raw, report, params)
    storage.write_table(manifest, table)
    storage.write_json(card, {**validation.card(table), **source})


def split(manifest: Path, splits: Path, params: p.SplitParams) -> None:
    """Assign each accepted galaxy to train, validation or test."""
    from galmorph.data.split import assign_splits

    table = storage.read_table(manifest)
    labels = table.loc[table["accepted"], ["CATAID", "label"]]
    storage.write_table(splits, assign_splits(table, params).merge(labels, on="CATAID", validate="one_to_one"))


def denoise(
    raw: Path, manifest: Path, images: Path, card: Path, report: Path, params: p.DenoiserParams, each: str
) -> None:
    """Denoise every accepted image with one denoiser; a run that was interrupted goes on where it stopped."""
    from galmorph.edge import denoising

    table = storage.read_table(manifest)
    galaxies = table[table["accepted"]]
    card.unlink(missing_ok=True)  # written last: where it is, the stage is finished
    with storage.output_folder(images, denoising.fingerprint(galaxies, params, each)) as folder:
        denoised = denoising.fill(folder, raw, galaxies, params, each)
        denoising.write_report(report, folder, raw, galaxies, denoised, each)
    content = denoising.card(galaxies, denoised, params, each)
    storage.write_json(card, {**content, **storage.read_json(raw / SOURCE_FILE)})


def train(splits: Path, images: Path, card: Path, model: Path, params: p.TrainStageParams, each: str) -> None:
    """Train one experiment's model; a run that was interrupted goes on after its last epoch."""
    from galmorph.edge.training import run_training, starting_weights

    galaxies = storage.read_table(splits)
    digest = storage.read_json(card)["digest"]
    # Where arrays are held changes nothing in what is learned: after memory ran out, another share goes on.
    values = params.model_dump(mode="json", by_alias=True, exclude={"train": {"memory_share"}})
    work = storage.fingerprint("train", each, digest, storage.digest_file(splits), values, starting_weights(params))
    with storage.output_folder(model, work) as folder:
        run_training(folder, galaxies, images, card, params, each)


def evaluate(
    model: Path,
    splits: Path,
    manifest: Path,
    images: Path,
    card: Path,
    evaluation: Path,
    record: Path,
    params: p.EvaluateParams,
    each: str,
) -> None:
    """Score one experiment's model on the galaxies it was not trained on."""
    from galmorph.edge.scoring import score_experiment
    from galmorph.models.memory import named_memory_errors, smaller_batches

    remedy = smaller_batches("evaluate", params.batch_size)
    with storage.output_folder(evaluation) as folder, named_memory_errors(remedy):
        summary = score_experiment(
            folder,
            each,
            model,
            storage.read_table(splits),
            storage.read_table(manifest),
            images,
            storage.read_json(card),
            params,
        )
    storage.write_json(record, summary)


def compare(
    evaluations: Path,
    records: Path,
    raw: Path,
    leaderboard: Path,
    complexity: Path,
    mistakes: Path,
    best: Path,
    params: p.CompareStageParams,
) -> None:
    """Rank the experiments beside the published figures, and choose the best on validation."""
    from galmorph.edge.comparison import Outputs, compare_experiments

    outputs = Outputs(leaderboard, complexity, mistakes, best)
    compare_experiments(evaluations, records, raw / "images", outputs, params)


def robustness(
    best: Path,
    models: Path,
    evaluations: Path,
    raw: Path,
    variants: Path,
    robustness: Path,
    params: p.RobustnessParams,
) -> None:
    """Score the best model on cutouts that are degraded: other sizes, turns, noise, seeing, file formats."""
    from galmorph.edge.robustness import measure_robustness
    from galmorph.models.memory import named_memory_errors, smaller_batches

    remedy = smaller_batches("robustness", params.batch_size)
    chosen = storage.read_json(best)
    evaluation = evaluations / chosen["experiment"]
    with storage.output_folder(robustness) as folder, named_memory_errors(remedy):
        measure_robustness(
            folder,
            models / chosen["experiment"],
            raw / "images",
            variants / f"{chosen['variant']}.json",
            storage.read_table(evaluation / "predictions.parquet"),
            storage.read_json(evaluation / "metrics.json")["scored_split"],
            params,
        )


def explain(
    best: Path,
    models: Path,
    evaluations: Path,
    manifest: Path,
    raw: Path,
    variants: Path,
    explanations: Path,
    params: p.ExplainParams,
) -> None:
    """Explain the best model's answers, and check the explanations; an interrupted run goes on."""
    from galmorph.edge.explaining import explain_experiment
    from galmorph.models.memory import named_memory_errors, smaller_batches

    remedy = smaller_batches("explain", params.batch_size)
    chosen = storage.read_json(best)
    evaluation = evaluations / chosen["experiment"]
    predictions = evaluation / "predictions.parquet"
    work = storage.fingerprint("explain", chosen, storage.digest_file(predictions), params.model_dump(mode="json"))
    with storage.output_folder(explanations, work) as folder, named_memory_errors(remedy):
        metrics = explain_experiment(
            folder / chosen["experiment"],
            models / chosen["experiment"],
            {chosen["variant"]: variants / chosen["variant"], "raw": raw / "images"},
            storage.read_table(manifest),
            storage.read_table(predictions),
            storage.read_json(evaluation / "metrics.json"),
            params,
        )
        storage.write_json(folder / "metrics.json", metrics)


def register(
    best: Path,
    models: Path,
    evaluations: Path,
    robustness: Path,
    explanations: Path,
    splits: Path,
    manifest: Path,
    raw: Path,
    variants: Path,
    registration: Path,
    params: p.RegisterStageParams,
) -> None:
    """Make the best model a version of the registered model, with its reports and card, and point the alias at it."""
    from galmorph.edge.registration import Reports, register_best

    chosen = storage.read_json(best)
    name = chosen["experiment"]
    reports = Reports(
        model=models / name,
        evaluation=evaluations / name,
        robustness=robustness,
        explanation=explanations / name,
        splits=splits,
        manifest=manifest,
        raw=raw / "images",
        card=variants / f"{chosen['variant']}.json",
    )
    storage.write_json(registration, register_best(chosen, reports, params))


#: Every stage, in the order of the pipeline. dvc.yaml, MLproject and the other runners name the same ones.
STAGES: Mapping[str, Stage] = {
    "acquire": Stage(
        run=acquire,
        inputs={},
        outputs={"raw": "data/raw"},
        params=p.AcquireParams,
        sections=("acquire",),
        packages=("data",),
    ),
    "validate": Stage(
        run=validate,
        inputs={"raw": "data/raw"},
        outputs={"manifest": "data/manifest.parquet", "card": "data/variants/raw.json", "report": "reports/validation"},
        params=p.ValidateParams,
        sections=("validate",),
        packages=("data",),
    ),
    "split": Stage(
        run=split,
        inputs={"manifest": "data/manifest.parquet"},
        outputs={"splits": "data/splits.parquet"},
        params=p.SplitParams,
        sections=("split",),
        packages=("data",),
    ),
    "denoise": Stage(
        run=denoise,
        inputs={"raw": "data/raw", "manifest": "data/manifest.parquet"},
        outputs={
            "images": "data/variants/{variant}",
            "card": "data/variants/{variant}.json",
            "report": "reports/denoise/{variant}",
        },
        params=p.DenoiserParams,
        sections=("denoise.{variant}",),
        packages=("data",),
        each="variant",
    ),
    "train": Stage(
        run=train,
        inputs={"splits": "data/splits.parquet", "images": "{images}", "card": "data/variants/{variant}.json"},
        outputs={"model": "models/{experiment}"},
        params=p.TrainStageParams,
        sections=("preprocess", "train", "experiments.{experiment}"),
        packages=("data", "models"),
        each="experiment",
        through={"images": "card"},
    ),
    "evaluate": Stage(
        run=evaluate,
        inputs={
            "model": "models/{experiment}",
            "splits": "data/splits.parquet",
            "manifest": "data/manifest.parquet",
            "images": "{images}",
            "card": "data/variants/{variant}.json",
        },
        outputs={"evaluation": "evaluation/{experiment}", "record": "evaluation/records/{experiment}.json"},
        params=p.EvaluateParams,
        sections=("evaluate",),
        packages=("data", "models", "evaluation"),
        each="experiment",
        through={"images": "card"},
    ),
    "compare": Stage(
        run=compare,
        inputs={"records": "evaluation/records", "evaluations": "evaluation", "raw": "data/raw"},
        outputs={
            "leaderboard": "evaluation/leaderboard.html",
            "complexity": "evaluation/complexity.csv",
            "mistakes": "evaluation/mistakes.png",
            "best": "evaluation/best.json",
        },
        params=p.CompareStageParams,
        sections=("compare", "evaluate", "register", "experiments"),
        packages=("data", "evaluation"),
        through={"evaluations": "records", "raw": "records"},
    ),
    "robustness": Stage(
        run=robustness,
        inputs={
            "best": "evaluation/best.json",
            "models": "models",
            "evaluations": "evaluation",
            "raw": "data/raw",
            "variants": "data/variants",
        },
        outputs={"robustness": "robustness"},
        params=p.RobustnessParams,
        sections=("robustness",),
        packages=("data", "models", "evaluation"),
        through={"models": "best", "evaluations": "best", "raw": "best", "variants": "best"},
    ),
    "explain": Stage(
        run=explain,
        inputs={
            "best": "evaluation/best.json",
            "models": "models",
            "evaluations": "evaluation",
            "manifest": "data/manifest.parquet",
            "raw": "data/raw",
            "variants": "data/variants",
        },
        outputs={"explanations": "explanations"},
        params=p.ExplainParams,
        sections=("explain",),
        packages=("data", "models", "evaluation", "explain"),
        through={"models": "best", "evaluations": "best", "raw": "best", "variants": "best"},
    ),
    "register": Stage(
        run=register,
        inputs={
            "best": "evaluation/best.json",
            "models": "models",
            "evaluations": "evaluation",
            "robustness": "robustness",
            "explanations": "explanations",
            "splits": "data/splits.parquet",
            "manifest": "data/manifest.parquet",
            "raw": "data/raw",
            "variants": "data/variants",
        },
        outputs={"registration": "registration.json"},
        params=p.RegisterStageParams,
        sections=("register", "explain"),
        packages=("models", "evaluation", "explain", "promotion", "serving"),
        through=dict.fromkeys(("models", "evaluations", "splits", "manifest", "raw", "variants"), "best"),
    ),
}


def run_stage(name: str, values: Mapping[str, Any], source: str, row: str = "", into: Path = Path()) -> None:
    """Run a stage on its files below the working folder.

    Parameters
    ----------
    name
        Of the stage.
    values
        The content of a whole params.yaml.
    source
        Its name, for messages.
    row
        The variant or experiment, where the stage has one.
    into
        As for `paths`.

    Raises
    ------
    GalmorphError
        Whatever the stage has to say; `ParamsError` when values are wrong or the row is not known.
    """
    stage, params = STAGES[name], p.check(dict(values), source)
    if row not in rows(stage, params):
        raise ParamsError(
            f"{source}: `galmorph {name}` takes a known {stage.each}: {', '.join(rows(stage, params))}. "
            f"Received: {row!r}"
        )
    own = TypeAdapter(stage.params).validate_python(stage_values(stage, values, row))
    each = {"each": row} if stage.each else {}
    stage.run(**paths(stage, params, row, into), **each, params=own)
