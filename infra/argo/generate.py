"""Write the manifests for Argo Workflows from the table of stages: `python -m infra.argo.generate`.

Every path of the table is a key in the bucket, below that of the run, and the same path in the working folder of a
step: whoever reads a folder gets all that was written into it, by as many steps as there were.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hera.workflows import models as argo
from ruamel.yaml import YAML

from galmorph.params import merged
from galmorph.stage import Stage
from galmorph.stages import STAGES
from infra.argo.wiring import dependencies, handed_in, placeholders_of
from infra.yaml_text import yaml_text

HERE = Path(__file__).parent
#: The working folder of a step, and where it finds the values.
WORK, PARAMS = "/work", "params.yaml"
#: What `acquire` unpacks or looks up, where `acquire.source` is not `simulate`: `acquire.path` of params.yaml.
GIVEN = "incoming"
_RUN = "{{workflow.parameters.prefix}}/{{workflow.name}}/{{workflow.uid}}"
_HEADER = (
    "# Written by `python -m infra.argo.generate` from pattern.yaml and galmorph.stages.STAGES; change it there.\n"
)


def generated(folder: Path = HERE) -> dict[str, str]:
    """Return every generated file, by its name, with the text that it must have."""
    template, cron = YAML(typ="safe").load_all(folder / "pattern.yaml")
    return {
        "workflow-template.yaml": yaml_text(_manifest(argo.WorkflowTemplate, _filled(template)), _HEADER),
        "cron-workflow.yaml": yaml_text(_manifest(argo.CronWorkflow, cron), _HEADER),
    }


def main() -> int:
    """Write them."""
    for name, text in generated().items():
        (HERE / name).write_text(text, encoding="utf-8")
        print(HERE / name)
    return 0


def _filled(template: Mapping[str, Any]) -> dict[str, Any]:
    """Put the workflow and a step for each stage in the place of the patterns."""
    patterns = {one["name"]: one for one in template["spec"]["templates"]}
    common = patterns.pop("step")
    unknown = set(patterns) - {*STAGES, "rows"}
    if unknown:
        raise ValueError(f"pattern.yaml: no stage has this name. Received: {', '.join(sorted(unknown))}")
    steps = [_rows(), *(_step(name, stage) for name, stage in STAGES.items())]
    entry = argo.Template(name=template["spec"]["entrypoint"], dag=argo.DAGTemplate(tasks=list(_tasks())))
    templates = [
        _plain(entry),
        *(merged(merged(common, patterns.get(step.name or "", {})), _plain(step)) for step in steps),
    ]
    return {**template, "spec": {**template["spec"], "templates": templates}}


def _tasks() -> Iterable[argo.DAGTask]:
    """Make the tasks: for each table one that lists its rows, then the stages, for each row where they have any."""
    for table in sorted({stage.each for stage in STAGES.values() if stage.each}):
        yield argo.DAGTask(
            name=f"rows-of-{table}",
            template="rows",
            arguments=argo.Arguments(parameters=[argo.Parameter(name="table", value=table)]),
        )
    for name, needed in dependencies(STAGES).items():
        stage = STAGES[name]
        task = argo.DAGTask(name=name, template=name, dependencies=needed or None)
        if stage.each:
            task.dependencies = [f"rows-of-{stage.each}", *needed]
            task.with_param = f"{{{{tasks.rows-of-{stage.each}.outputs.result}}}}"
            task.arguments = argo.Arguments(
                parameters=[argo.Parameter(name=key, value=f"{{{{item.{key}}}}}") for key in placeholders_of(stage)]
            )
        yield task


def _rows() -> argo.Template:
    """Make the step that lists the rows of a table, on its standard output."""
    return argo.Template(
        name="rows",
        inputs=argo.Inputs(parameters=[argo.Parameter(name="table")], artifacts=[_values()]),
        container=_container("rows", "{{inputs.parameters.table}}"),
    )


def _step(name: str, stage: Stage) -> argo.Template:
    """Make the step of a stage: its command, and what is brought to it and taken from it."""
    keys = placeholders_of(stage)
    row = [f"{{{{inputs.parameters.{stage.each}}}}}"] if stage.each else []
    return argo.Template(
        name=name,
        inputs=argo.Inputs(
            parameters=[argo.Parameter(name=key) for key in keys] or None,
            artifacts=[_values(), *_given(name), *(_artifact(*one) for one in handed_in(stage).items())],
        ),
        outputs=argo.Outputs(artifacts=[_artifact(*one) for one in stage.outputs.items()]),
        container=_container(name, *row),
    )


def _container(*command: str) -> argo.Container:
    # The image comes from the pattern; the model wants one.
    return argo.Container(image="", args=[*command, "--params", PARAMS])


def _values() -> argo.Artifact:
    """Bring the values that the workflow was given."""
    return argo.Artifact(
        name="params", path=f"{WORK}/{PARAMS}", raw=argo.RawArtifact(data="{{workflow.parameters.params}}")
    )


def _given(name: str) -> list[argo.Artifact]:
    """Bring what galaxies come from to the first stage, where there is anything."""
    if name != next(iter(STAGES)):
        return []
    key = argo.S3Artifact(key="{{workflow.parameters.incoming}}")
    return [argo.Artifact(name="given", path=f"{WORK}/{GIVEN}", s3=key, archive=_AS_IT_IS, optional=True)]


def _artifact(keyword: str, path: str) -> argo.Artifact:
    """Bring or take a path of the table, as it is: a folder must be readable in part, and whole."""
    place = path.format_map(_Parameters())
    return argo.Artifact(
        name=keyword, path=f"{WORK}/{place}", s3=argo.S3Artifact(key=f"{_RUN}/{place}"), archive=_AS_IT_IS
    )


_AS_IT_IS = argo.ArchiveStrategy(none=argo.NoneStrategy())


class _Parameters(dict[str, str]):
    """Argo's placeholder for each of ours."""

    def __missing__(self, key: str) -> str:
        return f"{{{{inputs.parameters.{key}}}}}"


def _manifest(model: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Pass a manifest through Argo's model of it: what the model does not know would be lost, and is an error."""
    known = _plain(model.model_validate(content))
    if known != content:
        raise ValueError(f"Argo's model of {content['kind']} does not know all of it. Received: {content!r:.500}")
    return known


def _plain(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    if found.get("container", {}).get("image") == "":
        del found["container"]["image"]
    return found


if __name__ == "__main__":
    sys.exit(main())
