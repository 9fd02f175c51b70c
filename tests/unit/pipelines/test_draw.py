"""The picture of a compiled pipeline."""

import itertools

import pytest
import yaml

from pipelines.compile import FOLDER
from pipelines.draw import Box, draw, lay_out, ranks, read_boxes, reduced


def box_of(name: str) -> Box:
    with (FOLDER / f"{name}.yaml").open() as kept:
        whole = next(yaml.safe_load_all(kept))
    box = read_boxes(whole, whole["root"]["dag"], "", "frame")
    lay_out(box)
    return box


def groups(box: Box) -> list[Box]:
    return [box, *(found for inner in box.inside.values() if inner.inside for found in groups(inner))]


def test_a_task_stands_below_everything_that_it_waits_for():
    assert ranks({"c": {"a", "b"}, "b": {"a"}, "a": set()}) == {"a": 0, "b": 1, "c": 2}


def test_what_follows_anyway_is_not_drawn():
    assert reduced({"a": set(), "b": {"a"}, "c": {"a", "b"}}) == {"a": set(), "b": {"a"}, "c": {"b"}}


@pytest.mark.parametrize("name", ["training", "prediction"])
def test_boxes_do_not_overlap_and_stay_in_their_group(name):
    for group in groups(box_of(name)):
        for one in group.inside.values():
            assert one.x >= 0
            assert one.y >= 0
            assert one.x + one.width <= group.width
            assert one.y + one.height <= group.height
        for one, other in itertools.combinations(group.inside.values(), 2):
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            above = one.y + one.height <= other.y or other.y + other.height <= one.y
            assert beside or above, (one.name, other.name)


def test_loops_and_conditions_are_told_apart():
    kinds = {box.name: box.kind for box in groups(box_of("training")) if box.name}
    assert kinds == {
        "run": "frame", "denoisers": "loop", "search": "condition", "workers": "loop", "no search": "condition",
        "experiments": "loop", "gate passed": "condition",
    }  # fmt: skip


def test_every_component_of_the_pipeline_is_named_in_the_picture():
    drawn = {text.get_text() for text in draw(box_of("prediction"), "title").axes[0].texts}
    assert {"list-shards", "predict", "merge-predictions", "report-outcome", "for each of: shares", "title"} <= drawn
