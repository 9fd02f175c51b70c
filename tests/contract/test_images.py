"""infra/docker/Dockerfile: clean, locked, without root, and made of what .dockerignore lets through."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from galmorph import tracking
from galmorph.quiet import QUIET

DOCKERFILE = "infra/docker/Dockerfile"
#: What is shipped, and the lock that it is made from.
TARGETS = {"train": "gpu", "train-cpu": "pipeline", "serve": "serve", "mlflow": "mlflow"}


class Step(NamedTuple):
    """An instruction of a Dockerfile and what follows it."""

    instruction: str
    text: str


@pytest.fixture(scope="module")
def stages(repository) -> dict[str, list[Step]]:
    """Steps of every stage by its name; those before the first FROM under the empty name."""
    lines = [line for line in (repository / DOCKERFILE).read_text().splitlines() if not line.startswith("#")]
    found: dict[str, list[Step]] = {"": []}
    current = ""
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        step = Step(*line.split(maxsplit=1))
        if step.instruction == "FROM":
            current = step.text.rpartition(" AS ")[2]
            found[current] = []
        found[current].append(step)
    return found


def lineage(stages, name) -> list[Step]:
    """Steps of a stage after those that it stands on."""
    before = stages[name][0].text.partition(" AS ")[0]
    return [*(lineage(stages, before) if before in stages else []), *stages[name]]


def last(steps, instruction) -> str:
    """What the last of these instructions says."""
    return [step.text for step in steps if step.instruction == instruction][-1]


def let_through(repository, path: str) -> bool:
    """Whether .dockerignore leaves a path in the build's context: the last pattern that matches decides."""
    lines = (repository / ".dockerignore").read_text().splitlines()
    within = [path, *(parent.as_posix() for parent in Path(path).parents)][:-1]
    kept = True
    for line in lines:
        pattern = line.removeprefix("!")
        if line and not line.startswith("#"):
            shapes = (pattern, pattern.removeprefix("**/"))
            if any(fnmatch.fnmatch(part, shape) for part in within for shape in shapes):
                kept = line.startswith("!")
    return kept


def test_hadolint_has_nothing_to_say(repository):
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DOCKERFILE],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_base_is_an_argument_that_somebody_must_give(stages):
    assert stages[""] == [Step("ARG", "BASE")]
    froms = {steps[0].text.partition(" AS ")[0] for name, steps in stages.items() if name}
    assert froms - set(stages) == {"${BASE}"}


@pytest.mark.parametrize("target", TARGETS)
class TestTarget:
    def test_is_run_by_a_numbered_user_who_owns_what_is_written(self, stages, target):
        steps = lineage(stages, target)
        assert last(steps, "USER") == "10001:10001"
        volumes = re.findall(r'"([^"]+)"', last(steps, "VOLUME"))
        ran = " ".join(step.text for step in steps if step.instruction == "RUN")
        assert all(f"--owner=10001 --group=10001 {folder}" in ran for folder in volumes)
        assert last(steps, "WORKDIR") in volumes
        after = [step.instruction for step in stages[target][[s.instruction for s in stages[target]].index("COPY") :]]
        assert "RUN" not in after, "what is done in the last stage is done as its user, or not at all"

    def test_holds_the_environment_of_its_lock_and_no_tools(self, repository, stages, target):
        copied = [step.text for step in lineage(stages, target) if step.instruction == "COPY" and "--from" in step.text]
        assert copied == [f"--from=install-{target} /opt/galmorph /opt/galmorph"]
        lock = f"requirements/{TARGETS[target]}.txt"
        assert any(step.text.startswith(lock) for step in stages[f"install-{target}"] if step.instruction == "COPY")
        installs = [step.text for step in stages[f"install-{target}"] if step.instruction == "RUN"]
        assert f"--require-hashes --requirement /{lock}" in installs[0]
        assert all("--no-index --no-deps" in text for text in installs[1:])
        pinned = re.findall(r"^[^\s#-][^\n]*(?:\n    [^\n]*)*", (repository / lock).read_text(), re.MULTILINE)
        assert pinned
        assert all("==" in block and "--hash=sha256:" in block for block in pinned)

    def test_says_what_it_is(self, stages, target):
        labels = dict(re.findall(r"org\.opencontainers\.image\.(\w+)=(\"[^\"]*\"|\S+)", last(stages[target], "LABEL")))
        assert set(labels) == {"title", "description", "licenses", "version", "revision"}
        assert labels["title"] == f'"galmorph {target}"'

    def test_calls_nobody(self, stages, target):
        set_here = " ".join(step.text for step in lineage(stages, target) if step.instruction == "ENV")
        assert {f"{name}={value}" for name, value in QUIET.items()} <= set(set_here.split())


def test_the_service_is_asked_where_it_listens(stages, values):
    port = values["serve"]["port"]
    steps = lineage(stages, "serve")
    assert last(steps, "EXPOSE") == str(port)
    assert f"'127.0.0.1', {port}, " in last(steps, "HEALTHCHECK")
    assert '"/healthz"' in last(steps, "HEALTHCHECK").replace("'", '"')


def test_an_image_without_a_name_is_the_service(stages):
    assert list(stages)[-1] == "serve"


def test_what_is_copied_is_there_and_let_through(repository, stages):
    copies = [step.text for steps in stages.values() for step in steps if step.instruction == "COPY"]
    sources = [source for text in copies if "--from" not in text for source in text.split()[:-1]]
    assert sources
    for source in sources:
        path = repository / source
        assert path.exists(), source
        files = (
            [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
        )
        assert all(let_through(repository, file.relative_to(repository).as_posix()) for file in files), source


@pytest.mark.parametrize(
    "path",
    [".git/config", ".venv/bin/python", "data/raw/catalogue.csv", "infra/secrets/s3.json", "infra/.env", "mlflow.db",
     "incoming/1.png", "models/one/model.keras", "src/galmorph/__pycache__/cli.pyc", ".dvc/config.local"],
)  # fmt: skip
def test_nothing_else_is_let_through(repository, path):
    assert not let_through(repository, path)


def test_a_run_in_an_image_names_the_commit_that_it_was_built_from(stages, monkeypatch, tmp_path):
    for target in ("train", "train-cpu"):
        assert "GALMORPH_GIT_COMMIT=${REVISION}" in last(stages[target], "ENV")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALMORPH_GIT_COMMIT", "c0ffee")
    assert tracking.git_commit() == "c0ffee"
    monkeypatch.setenv("GALMORPH_GIT_COMMIT", "")  # as in an image that was not told
    assert tracking.git_commit() is None
