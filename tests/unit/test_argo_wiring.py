"""How the order of a workflow comes out of the paths of its stages."""

from galmorph.stage import Stage
from infra.argo.wiring import dependencies, handed_in


def reads_and_writes(inputs: str = "", outputs: str = "") -> Stage:
    named = [{path: path for path in text.split()} for text in (inputs, outputs)]
    return Stage(print, *named, params=None, sections=(), packages=())


def test_a_folder_waits_for_all_that_is_in_it():
    stages = {
        "one": reads_and_writes(outputs="a/b"),
        "two": reads_and_writes(outputs="a/c/{variant}.json"),
        "three": reads_and_writes(outputs="ab"),
        "four": reads_and_writes(inputs="a"),
    }
    assert dependencies(stages)["four"] == ["one", "two"]


def test_a_part_waits_for_its_folder():
    stages = {"one": reads_and_writes(outputs="a"), "two": reads_and_writes(inputs="a/b/c")}
    assert dependencies(stages)["two"] == ["one"]


def test_a_row_may_be_one_that_another_stage_writes():
    stages = {
        "one": reads_and_writes(outputs="a/raw.json"),
        "two": reads_and_writes(outputs="a/{variant}"),
        "three": reads_and_writes(inputs="a/{variant}.json"),
    }
    assert dependencies(stages)["three"] == ["one"]


def test_images_may_be_raw_or_denoised():
    stages = {
        "one": reads_and_writes(outputs="data/raw"),
        "two": reads_and_writes(outputs="data/variants/{variant}"),
        "three": reads_and_writes(inputs="{images}"),
    }
    assert dependencies(stages)["three"] == ["one", "two"]


def test_nobody_is_waited_for_twice():
    stages = {
        "one": reads_and_writes(outputs="a"),
        "two": reads_and_writes(inputs="a", outputs="b"),
        "three": reads_and_writes(inputs="a b", outputs="c"),
        "four": reads_and_writes(inputs="a b c"),
    }
    assert dependencies(stages) == {"one": [], "two": ["one"], "three": ["two"], "four": ["three"]}


def test_what_lies_in_a_folder_comes_with_it():
    assert handed_in(reads_and_writes(inputs="a a/b ab")) == {"a": "a", "ab": "ab"}
