"""The Kubernetes manifests as `kubectl kustomize` builds them, and questions that tests ask of them."""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "infra" / "k8s"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
#: Kustomize in older ones knows no components, or other fields of theirs.
_OLDEST = (1, 27)

Document = dict[str, Any]


class Pod(NamedTuple):
    """A pod that a manifest leads to: its maker's kind and name, its labels, and its specification."""

    kind: str
    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    def containers(self) -> list[dict[str, Any]]:
        """Those that start before the others, too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


@functools.cache
def kubectl() -> str:
    """Path of kubectl; Debian's own package is too old, so nothing is installed here."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed: kubernetes.io/docs/tasks/tools says how")
    said = subprocess.run([found, "version", "--client", "--output=json"], check=True, capture_output=True, text=True)
    version = json.loads(said.stdout)["clientVersion"]
    if (int(version["major"]), int(re.match(r"\d+", version["minor"])[0])) < _OLDEST:
        pytest.skip(f"kubectl {version['gitVersion']} is too old: {_OLDEST[0]}.{_OLDEST[1]} is needed")
    return found


@functools.cache
def build(overlay: str) -> list[Document]:
    """Build one of our overlays. What comes back is shared: change nothing in it."""
    return built(FOLDER / "overlays" / overlay)


def built(folder: Path) -> list[Document]:
    """Build a folder with a kustomization.yaml."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize says there what is deprecated
    return list(YAML(typ="safe").load_all(done.stdout))


def of(documents: list[Document], kind: str) -> list[Document]:
    """Those of a kind."""
    return [document for document in documents if document["kind"] == kind]


def one(documents: list[Document], kind: str, name: str) -> Document:
    """The document of that kind and name; a ConfigMap's without the suffix of its content."""
    (found,) = (
        document
        for document in of(documents, kind)
        if document["metadata"]["name"] == name or re.fullmatch(rf"{name}-[a-z0-9]{{10}}", document["metadata"]["name"])
    )
    return found


def pods(documents: list[Document]) -> list[Pod]:
    """Every pod that they lead to."""
    return list(_pods(documents))


def _pods(documents: list[Document]) -> Iterator[Pod]:
    for document in documents:
        kind, metadata, spec = document["kind"], document["metadata"], document.get("spec", {})
        if kind in ("Deployment", "StatefulSet", "Job"):
            yield Pod(kind, metadata["name"], spec["template"]["metadata"]["labels"], spec["template"]["spec"])
        elif kind == "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
            yield Pod(kind, metadata["name"], template["metadata"]["labels"], template["spec"])
        elif kind == "InferenceService":
            # KServe gives the labels of the service to its pods.
            yield Pod(kind, metadata["name"], metadata["labels"], spec["predictor"])


def selected(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a selector by labels, `{}` for everything, takes these."""
    assert set(selector) <= {"matchLabels"}, f"not understood here: {selector}"
    return selector.get("matchLabels", {}).items() <= labels.items()


def allowed(documents: list[Document], source: Pod, target: Pod, port: int) -> bool:
    """Whether the policies let one pod of the namespace reach another."""
    return _one_way(documents, "Egress", source, target, port) and _one_way(documents, "Ingress", target, source, port)


def _one_way(documents: list[Document], way: str, pod: Pod, peer: Pod, port: int) -> bool:
    side, whom = ("egress", "to") if way == "Egress" else ("ingress", "from")
    policies = [
        policy["spec"]
        for policy in of(documents, "NetworkPolicy")
        if selected(policy["spec"]["podSelector"], pod.labels) and way in policy["spec"]["policyTypes"]
    ]
    rules = [rule for policy in policies for rule in policy.get(side, [])]
    return not policies or any(
        port in [each["port"] for each in rule["ports"]]
        and (
            whom not in rule
            or any(selected(each["podSelector"], peer.labels) for each in rule[whom] if "podSelector" in each)
        )
        for rule in rules
    )
