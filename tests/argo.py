"""Argo's part in a workflow, as far as it can be played on one machine: loops, parameters, artifacts in a bucket.

A step runs in a new folder that holds what its template declares and nothing else; what it declares to write is taken
from there. A bucket is a folder: like S3 it knows files and no folders, so that an empty one is lost on the way.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hera.workflows import models as argo
from ruamel.yaml import YAML

from tests.project import REPOSITORY

FOLDER = REPOSITORY / "infra" / "argo"
PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
WORK = "/work/"


def load(name: str) -> dict[str, Any]:
    """A manifest of infra/argo, as Kubernetes gets it."""
    return dict(YAML(typ="safe").load(FOLDER / name))


def resolved(value: Any, known: Mapping[str, str]) -> Any:
    """Put values in the place of placeholders; one that is not known is an error, as it is for Argo."""
    if isinstance(value, Mapping):
        return {key: resolved(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, known) for item in value]
    return PLACEHOLDER.sub(lambda found: known[found[1]], value) if isinstance(value, str) else value


class Controller:
    """Runs a workflow template step by step."""

    def __init__(self, manifest: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> None:
        spec = argo.WorkflowTemplate.model_validate(manifest).spec
        assert spec.templates
        assert spec.entrypoint
        self.templates = {template.name: template for template in spec.templates}
        self.dag = self.templates[spec.entrypoint].dag
        parameters = spec.arguments.parameters if spec.arguments else None
        self.known = {f"workflow.parameters.{one.name}": str(one.value or "") for one in parameters or []}
        self.known |= {"workflow.name": "galmorph-training-x7k2p", "workflow.uid": "0f0e"}
        self.bucket = folder / "bucket"
        self.steps = folder / "steps"
        self.environment = environment
        #: What ran, in order: a template and its arguments.
        self.ran: list[tuple[str, dict[str, str]]] = []

    def run(self, **arguments: str) -> None:
        """Run the tasks, each after those that it depends on, once for each item where it loops."""
        assert self.dag
        self.known |= {f"workflow.parameters.{name}": value for name, value in arguments.items()}
        open_ = {task.name: task for task in self.dag.tasks or []}
        done: dict[str, str] = {}
        while open_:
            task = next(task for task in open_.values() if set(task.dependencies or []) <= set(done))
            looped = json.loads(resolved(task.with_param, self.known)) if task.with_param else [{}]
            for item in looped:
                items = {f"item.{key}": value for key, value in item.items()}
                given = {
                    one.name: resolved(str(one.value), items)
                    for one in (task.arguments.parameters if task.arguments else None) or []
                }
                done[task.name] = self._step(str(task.template), given)
            self.known[f"tasks.{task.name}.outputs.result"] = done[task.name]
            del open_[task.name]

    def run_folder(self) -> Path:
        """Where the bucket holds what this run wrote."""
        return (
            self.bucket
            / self.known["workflow.parameters.prefix"]
            / self.known["workflow.name"]
            / self.known["workflow.uid"]
        )

    def _step(self, name: str, given: Mapping[str, str]) -> str:
        model = self.templates[name]
        known = {**self.known, **{f"inputs.parameters.{key}": value for key, value in given.items()}}
        plain = resolved(model.model_dump(by_alias=True, exclude_none=True), known)
        assert {one["name"] for one in plain.get("inputs", {}).get("parameters", [])} == set(given)
        folder = self.steps / f"{len(self.ran):02}-{name}"
        folder.mkdir(parents=True)
        for artifact in plain["inputs"]["artifacts"]:
            self._bring(artifact, folder)
        container = plain["container"]
        assert container["command"] == ["galmorph"]
        assert container["workingDir"] + "/" == WORK
        done = subprocess.run(
            [sys.executable, "-m", "galmorph", *container["args"]],
            cwd=folder, env=dict(self.environment), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{name} {dict(given)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        for artifact in plain.get("outputs", {}).get("artifacts", []):
            self._take(artifact, folder)
        self.ran.append((name, dict(given)))
        shutil.rmtree(folder)  # nobody may find what was not declared
        return done.stdout.strip()

    def _bring(self, artifact: Mapping[str, Any], folder: Path) -> None:
        place = folder / artifact["path"].removeprefix(WORK)
        assert not place.exists(), f"{artifact['path']} is there already: Argo could not put a folder in its place"
        place.parent.mkdir(parents=True, exist_ok=True)
        if "raw" in artifact:
            place.write_text(artifact["raw"]["data"])
            return
        assert artifact["archive"] == {"none": {}}
        kept = self.bucket / artifact["s3"]["key"]
        if kept.is_dir():
            shutil.copytree(kept, place)
        elif kept.is_file():
            shutil.copy2(kept, place)
        else:
            assert artifact.get("optional"), f"no artifact {artifact['s3']['key']}"

    def _take(self, artifact: Mapping[str, Any], folder: Path) -> None:
        made = folder / artifact["path"].removeprefix(WORK)
        kept = self.bucket / artifact["s3"]["key"]
        assert made.exists(), f"{artifact['path']} was not written"
        for path in sorted(made.rglob("*")) if made.is_dir() else [made]:
            if path.is_file():
                target = kept / path.relative_to(made) if made.is_dir() else kept
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
