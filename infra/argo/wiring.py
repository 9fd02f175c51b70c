"""What the table of stages says about a workflow: which stage waits for which, and what each is handed."""

import re
from collections.abc import Mapping
from string import Formatter

from galmorph.stage import RAW_IMAGES, VARIANT_IMAGES, Stage


def dependencies(stages: Mapping[str, Stage]) -> dict[str, list[str]]:
    """Return the stages that each stage waits for: those that write what it reads, and no more than it takes.

    Parameters
    ----------
    stages
        In the order of the pipeline: a stage reads nothing that a later one writes.
    """
    found: dict[str, list[str]] = {}
    before: dict[str, set[str]] = {}
    for name, stage in stages.items():
        needed = [
            earlier
            for earlier in found
            if any(_touch(output, path) for output in stages[earlier].outputs.values() for path in _inputs(stage))
        ]
        passed = set().union(*(before[one] for one in needed))
        before[name] = passed | set(needed)
        # Who is waited for anyway, by one that is waited for, needs no line of its own.
        found[name] = [one for one in needed if one not in passed]
    return found


def handed_in(stage: Stage) -> dict[str, str]:
    """Return the inputs that a step is handed, by keyword: all but those that lie in another one.

    A folder brings what is in it, and cannot be put where a part of it lies already.
    """
    return {
        keyword: path
        for keyword, path in stage.inputs.items()
        if not any(path.startswith(f"{other}/") for other in stage.inputs.values())
    }


def placeholders_of(stage: Stage) -> list[str]:
    """Return the placeholders in a stage's paths and command line, sorted."""
    paths = [*stage.inputs.values(), *stage.outputs.values(), *(["{" + stage.each + "}"] if stage.each else [])]
    return sorted({name for path in paths for _, name, _, _ in Formatter().parse(path) if name})


def _inputs(stage: Stage) -> list[str]:
    """Return the paths that a stage may read; a folder of images is one of two."""
    return [
        path.replace("{images}", images) for path in stage.inputs.values() for images in (RAW_IMAGES, VARIANT_IMAGES)
    ]


def _touch(output: str, path: str) -> bool:
    """Whether one is the other or lies in it, for some row of the tables."""
    return all(_same(*pair) for pair in zip(output.split("/"), path.split("/"), strict=False))


def _same(one: str, other: str) -> bool:
    return _matches(one, other) or _matches(other, one)


def _matches(pattern: str, text: str) -> bool:
    """Whether a placeholder of `pattern` can stand for what is there in `text`; a name of a row has no dot."""
    parts = (r"[^/.]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", pattern))
    return re.fullmatch("".join(parts), text) is not None
