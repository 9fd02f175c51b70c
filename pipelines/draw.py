"""`python -m pipelines.draw`: draw the compiled pipelines, for docs/pipelines.md."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from galmorph.storage import replacing
from pipelines.compile import FOLDER

#: Sizes in the figure's own units: a box of one line, the gaps between boxes, and what a frame adds.
_CHARACTER, _LINE, _GAP_X, _GAP_Y, _FRAME, _TITLE = 0.11, 0.36, 0.3, 0.32, 0.16, 0.32
#: Okabe and Ito: a loop, a condition, a pipeline's frame.
_COLOURS = {"loop": "#0072B2", "condition": "#D55E00", "frame": "#666666"}


@dataclass
class Box:
    """A component, or a group of boxes that run in a loop or under a condition.

    Attributes
    ----------
    name, kind
        What it is called, and `component`, `loop`, `condition` or `frame`.
    inside
        The boxes of a group, by task.
    after
        For each of them, the ones that it waits for.
    x, y, width, height
        Its place: the lower left corner, and its size.
    """

    name: str
    kind: str
    inside: dict[str, "Box"] = field(default_factory=dict)
    after: dict[str, set[str]] = field(default_factory=dict)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


def read_boxes(whole: Mapping[str, Any], dag: Mapping[str, Any], name: str, kind: str) -> Box:
    """Read a group of a compiled pipeline, and the groups in it."""
    box = Box(name, kind)
    for key, task in dag["tasks"].items():
        inner = whole["components"][task["componentRef"]["name"]].get("dag")
        # What holds the branches of a condition has no name that anybody gave it.
        title = "" if key.startswith("condition-branches") else task["taskInfo"]["name"]
        box.inside[key] = read_boxes(whole, inner, title, _kind(task, key)) if inner else Box(title, "component")
        box.after[key] = set(task.get("dependentTasks", []))
    return box


def _kind(task: Mapping[str, Any], key: str) -> str:
    if "parameterIterator" in task:
        return "loop"
    return "condition" if "condition" in key and "branches" not in key else "frame"


def ranks(after: Mapping[str, set[str]]) -> dict[str, int]:
    """Give each task its line: it stands below everything that it waits for."""
    found: dict[str, int] = {}

    def rank(task: str) -> int:
        if task not in found:
            found[task] = 1 + max((rank(other) for other in after[task]), default=-1)
        return found[task]

    for task in after:
        rank(task)
    return found


def reduced(after: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Leave out that a task waits for what it waits for anyway, through another one."""

    def upstream(task: str) -> set[str]:
        return after[task].union(*(upstream(other) for other in after[task]))

    return {task: others - set().union(*(upstream(other) for other in others)) for task, others in after.items()}


def lay_out(box: Box) -> None:
    """Give a box its size, and the boxes in it theirs and their places, as if its corner were at (0, 0)."""
    if not box.inside:
        box.width, box.height = _CHARACTER * len(box.name) + 0.3, _LINE
        return
    for inner in box.inside.values():
        lay_out(inner)
    lines: dict[int, list[Box]] = {}
    of = ranks(box.after)
    for key in box.after:
        lines.setdefault(of[key], []).append(box.inside[key])
    widths = {rank: sum(one.width for one in line) + _GAP_X * (len(line) - 1) for rank, line in lines.items()}
    box.width = max(max(widths.values()) + 2 * _FRAME, _CHARACTER * len(_titled(box)) + 0.3)
    heights = [max(one.height for one in line) for line in lines.values()]
    box.height = sum(heights) + _GAP_Y * (len(lines) - 1) + 2 * _FRAME + (_TITLE if _titled(box) else 0)
    y = box.height - _FRAME - (_TITLE if _titled(box) else 0)
    for rank, line in sorted(lines.items()):
        x = (box.width - widths[rank]) / 2
        tallest = max(one.height for one in line)
        for one in line:
            one.x, one.y = x, y - (tallest + one.height) / 2
            x += one.width + _GAP_X
        y -= tallest + _GAP_Y


def _titled(box: Box) -> str:
    words = {"loop": "for each of: ", "condition": "if: "}.get(box.kind, "")
    return words + box.name if box.name else ""


def draw(box: Box, title: str) -> Figure:
    """Draw a laid out box with everything in it."""
    figure = Figure(figsize=(box.width + 0.4, box.height + 0.5), dpi=110)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(-0.2, box.width + 0.2)
    axes.set_ylim(-0.2, box.height + 0.3)
    axes.axis("off")
    axes.text(0, box.height + 0.02, title, fontsize=12, fontweight="bold", va="bottom")
    _draw(axes, box, 0.0, 0.0, 0)
    return figure


def _draw(axes: Any, box: Box, x: float, y: float, depth: int) -> None:
    if box.kind == "component":
        _frame(axes, x, y, box, ("black", "white", "-"), depth)
        axes.text(
            x + box.width / 2, y + box.height / 2, box.name, ha="center", va="center", fontsize=9.5, zorder=depth + 0.1
        )
        return
    colour = _COLOURS[box.kind]
    _frame(axes, x, y, box, (colour, f"{colour}0c", "--" if box.kind == "condition" else "-"), depth)
    axes.text(x + 0.12, y + box.height - 0.1, _titled(box), color=colour, fontsize=9, va="top", zorder=depth + 0.1)
    for key, others in reduced(box.after).items():
        one = box.inside[key]
        for other in (box.inside[name] for name in sorted(others)):
            axes.annotate(
                "",
                xy=(x + one.x + one.width / 2, y + one.y + one.height),
                xytext=(x + other.x + other.width / 2, y + other.y),
                arrowprops={"arrowstyle": "-|>", "color": "#333333", "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0},
                zorder=depth + 0.5,
            )
    for one in box.inside.values():
        _draw(axes, one, x + one.x, y + one.y, depth + 1)


def _frame(axes: Any, x: float, y: float, box: Box, look: tuple[str, str, str], depth: int) -> None:
    edge, face, line = look
    axes.add_patch(
        FancyBboxPatch(
            (x, y), box.width, box.height, boxstyle="round,pad=0,rounding_size=0.08", edgecolor=edge, facecolor=face,
            linestyle=line, linewidth=1.1, zorder=depth,
        )
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Draw every compiled pipeline."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.draw", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("docs/images"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    for name in ("training", "prediction"):
        with (FOLDER / f"{name}.yaml").open() as kept:
            whole = next(yaml.safe_load_all(kept))
        box = read_boxes(whole, whole["root"]["dag"], "", "frame")
        lay_out(box)
        path = options.into / f"pipeline_{name}.png"
        with replacing(path) as temporary:
            draw(box, whole["pipelineInfo"]["name"]).savefig(temporary)
        print(path)


if __name__ == "__main__":
    main()
