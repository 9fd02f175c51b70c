"""Training: from galaxies to a champion, or to the reasons why there is no new one. Wiring only."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from kfp import dsl

import components as do
from galmorph.params import DenoiseParams
from pipelines import settings
from pipelines.declared import CHECKPOINTS, MODEL_PLACEMENT, PLACEMENT, TRACKING, Parameter, pipeline, sections
from pipelines.placement import afresh, going_on, on_gpu, placed, pulling, searching, tracked, watched

_VARIANTS = list(DenoiseParams.model_fields)
_SECTIONS = sections(settings.stage_defaults())

_PARAMETERS: Mapping[str, Parameter] = {
    **_SECTIONS,
    "search": Parameter(bool, False, "whether Optuna searches the values of tune.experiment first"),
    "workers": Parameter(int, settings.TUNE_WORKERS, "processes that run its trials at the same time"),
    **PLACEMENT,
    **MODEL_PLACEMENT,
    "checkpoints": CHECKPOINTS,
    **TRACKING,
    "database_secret": Parameter(str, settings.DATABASE_SECRET, "the Secret with the password of tune.storage"),
}
_REVISION: Mapping[str, Parameter] = {
    "repository": Parameter(str, None, "the git repository whose dvc.lock names the data"),
    "revision": Parameter(str, None, "its branch, tag or commit"),
    "data_secret": Parameter(str, settings.DATA_SECRET, "the Secret with what the DVC remote asks for"),
}


#: Makes what several tasks read, for one of them at a time.
Inputs = Callable[[], dict[str, Any]]


def _collected(outputs: Mapping[str, Any]) -> Inputs:
    """Collect outputs of a loop. The compiler writes into a `Collected`, so each task that reads it needs its own."""
    return lambda: {name: dsl.Collected(output) for name, output in outputs.items()}


def _small(task: dsl.PipelineTask, given: SimpleNamespace) -> dsl.PipelineTask:
    return placed(task, given.cpu, given.memory)


def _once(task: dsl.PipelineTask, given: SimpleNamespace) -> dsl.PipelineTask:
    """Place a task of moments: when it fails, what it was given is wrong, and would be wrong again."""
    return placed(task, given.cpu, given.memory, again=False)


def _logging(task: dsl.PipelineTask, given: SimpleNamespace) -> dsl.PipelineTask:
    return tracked(_small(task, given), given.tracking, given.tracking_secret)


def _large(task: dsl.PipelineTask, given: SimpleNamespace) -> dsl.PipelineTask:
    """Place a task that runs a model."""
    placed(task, given.train_cpu, given.train_memory, seconds=settings.LONG)
    on_gpu(task, given.gpu_type, given.gpus, given.gpu_nodes, given.gpu_tolerations)
    return tracked(task, given.tracking, given.tracking_secret)


def _wire(given: SimpleNamespace, get_raw: Callable[[], dsl.PipelineTask]) -> None:
    with dsl.ExitHandler(afresh(do.report_outcome()), name="run"):
        values = _once(do.check_params(**{f"{name}_params": getattr(given, name) for name in _SECTIONS}), given)
        raw = get_raw().after(values).outputs["raw"]
        # Whatever follows reads the manifest or the splits: data that are not fit stop the run here.
        valid = _small(do.validate(raw=raw, validate_params=given.validate), given)
        manifest = valid.outputs["manifest"]
        splits = _once(do.split(manifest=manifest, split_params=given.split), given).outputs["splits"]
        images = {"raw": raw, "variants": _denoise(given, raw, manifest, valid.outputs["card"])}
        experiments = _search(given, values.output, {"splits": splits, **images})
        trained = _experiments(given, experiments, splits, manifest, images)
        best = _compare(given, experiments, raw, trained)
        registration = _present(given, best, splits, manifest, images)
        _promote(given, registration, raw)


def _denoise(given: SimpleNamespace, raw: Any, manifest: Any, card: Any) -> Any:
    with dsl.ParallelFor(_VARIANTS, name="denoisers") as variant:
        denoised = do.denoise(raw=raw, manifest=manifest, denoise_params=given.denoise, variant=variant)
        going_on(_small(denoised, given), given.checkpoints)
    collected = do.collect_variants(
        card=card, images=dsl.Collected(denoised.outputs["images"]), cards=dsl.Collected(denoised.outputs["card"])
    )
    return _small(collected, given).outputs["variants"]


def _search(given: SimpleNamespace, values: Any, data: dict[str, Any]) -> Any:
    def searched(task: dsl.PipelineTask) -> dsl.PipelineTask:
        return watched(afresh(searching(_large(task, given), given.database_secret)))

    with dsl.If(given.search == True, name="search"):  # noqa: E712 - a comparison that Kubeflow makes
        begun = searched(do.begin_study(values=values, workers=given.workers, **data))
        with dsl.ParallelFor(begun.output, name="workers") as worker:
            joined = searched(do.join_study(values=worker.values, worker=worker.worker, **data))
        found = searched(do.finish_study(values=values, workers=dsl.Collected(joined.output), **data))
    with dsl.Else(name="no search"):
        kept = _small(do.keep_experiments(experiments_params=given.experiments), given)
    return dsl.OneOf(found.outputs["Output"], kept.output)


def _experiments(
    given: SimpleNamespace, experiments: Any, splits: Any, manifest: Any, images: dict[str, Any]
) -> Inputs:
    rows = _once(do.list_experiments(experiments_params=experiments), given)
    with dsl.ParallelFor(rows.output, name="experiments") as row:
        trained = do.train(
            splits=splits,
            preprocess_params=given.preprocess,
            train_params=given.train,
            experiments_params=row.experiments,
            experiment=row.experiment,
            variant=row.variant,
            **images,
        )
        watched(going_on(_large(trained, given), given.checkpoints))
        evaluated = do.evaluate(
            model=trained.outputs["model"],
            splits=splits,
            manifest=manifest,
            evaluate_params=given.evaluate,
            experiment=row.experiment,
            variant=row.variant,
            **images,
        )
        _large(evaluated, given)
    return _collected(
        {
            "models": trained.outputs["model"],
            "evaluations": evaluated.outputs["evaluation"],
            "records": evaluated.outputs["record"],
        }
    )


def _compare(given: SimpleNamespace, experiments: Any, raw: Any, trained: Inputs) -> Inputs:
    compared = do.compare(
        evaluations=trained()["evaluations"],
        records=trained()["records"],
        raw=raw,
        compare_params=given.compare,
        evaluate_params=given.evaluate,
        register_params=given.register,
        experiments_params=experiments,
    )
    best = _small(compared, given).outputs["best"]
    return lambda: {"best": best, "models": trained()["models"], "evaluations": trained()["evaluations"]}


def _present(given: SimpleNamespace, best: Inputs, splits: Any, manifest: Any, images: dict[str, Any]) -> Any:
    """Wire what is done with the best experiment alone: its checks, its explanations, its version."""
    tested = _large(do.robustness(robustness_params=given.robustness, **best(), **images), given)
    explained = do.explain(manifest=manifest, explain_params=given.explain, **best(), **images)
    going_on(_large(explained, given), given.checkpoints)
    registered = do.register(
        robustness=tested.outputs["robustness"],
        explanations=explained.outputs["explanations"],
        splits=splits,
        manifest=manifest,
        register_params=given.register,
        explain_params=given.explain,
        **best(),
        **images,
    )
    return afresh(_logging(registered, given)).outputs["registration"]


def _promote(given: SimpleNamespace, registration: Any, raw: Any) -> None:
    asked = {
        "registration": registration,
        "raw": raw,
        "promote_params": given.promote,
        "register_params": given.register,
    }
    gate = afresh(_logging(do.gate(**asked), given))
    with dsl.If(gate.outputs["Output"] == True, name="gate passed"):  # noqa: E712 - a comparison that Kubeflow makes
        afresh(_logging(do.promote(**asked), given))


def _on_acquired(given: SimpleNamespace) -> None:
    def get_raw() -> dsl.PipelineTask:
        return going_on(afresh(_small(do.acquire(acquire_params=given.acquire), given)), given.checkpoints)

    _wire(given, get_raw)


def _on_revision(given: SimpleNamespace) -> None:
    def get_raw() -> dsl.PipelineTask:
        pulled = do.pull_data(repository=given.repository, revision=given.revision)
        return pulling(afresh(_small(pulled, given)), given.data_secret)

    _wire(given, get_raw)


training = pipeline(
    "galmorph-training",
    "Galaxies are simulated or fetched; the best experiment is explained, registered and, if the gate allows, promoted",
    _PARAMETERS,
    _on_acquired,
)
training_on_revision = pipeline(
    "galmorph-training-on-revision",
    "The same on the galaxies of a git revision, from its DVC remote",
    {**_REVISION, **_PARAMETERS},
    _on_revision,
)
