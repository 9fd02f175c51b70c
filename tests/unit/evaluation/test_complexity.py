import pytest

from galmorph.evaluation.complexity import complexity_table, ranking_text, speed_text
from galmorph.evaluation.published import published

CNN, FROZEN, FINETUNED, VIT = "regularised_cnn_raw", "vgg16_frozen_raw", "resnet50_finetune_raw", "vit_raw"


def facts(parameters, flops, threads=2):
    return {
        "layers": {"Dense": 2, "Conv2D": 3}, "parameters": {"total": parameters, "trainable": parameters - 100},
        "flops": flops, "images_per_second": 50.0, "batch_size": 64, "device": "CPU", "threads": threads,
    }  # fmt: skip


MEASURED = {
    VIT: facts(5_500_000, 2_500_000_000),
    FINETUNED: facts(24_600_000, 7_700_000_000),
    CNN: facts(90_000_000, 1_100_000_000),
    FROZEN: facts(36_000_000, 30_700_000_000),
}


def record(architecture, *phases):
    return {"architecture": architecture, "recipe": {"phases": list(phases)}}


RECORDS = {
    VIT: record("vit", "scratch"),
    FINETUNED: record("resnet50", "frozen", "finetune"),
    CNN: record("regularised_cnn", "scratch"),
    FROZEN: record("vgg16", "frozen"),
}


@pytest.fixture
def table():
    return complexity_table(MEASURED, RECORDS, published())


def test_rows_stand_in_the_study_s_order_and_what_it_did_not_rank_comes_last(table):
    assert table["experiment"].tolist() == [CNN, FROZEN, FINETUNED, VIT]
    assert table["study_place"].tolist()[:3] == [1, 2, 3]
    assert table["study_said"].tolist()[-1] == "not ranked"
    assert "17 layers" in table["study_said"][0]


def test_figures_are_the_measured_ones(table):
    row = table.set_index("experiment").loc[FROZEN]
    assert (row["layers"], row["layers_by_kind"]) == (5, "3 Conv2D, 2 Dense")
    assert (row["parameters"], row["trainable_parameters"]) == (36_000_000, 35_999_900)
    assert (row["flops"], row["images_per_second"], row["device"]) == (30_700_000_000, 50.0, "CPU")


@pytest.mark.parametrize(
    ("architecture", "phases", "place"),
    [
        ("baseline_cnn", ("scratch",), 1),
        ("vgg16", ("frozen",), 2),
        ("vgg16", ("frozen", "finetune"), 3),
        ("resnet50", ("finetune",), 3),
        ("resnet50", ("frozen",), None),  # the study says nothing of it
        ("vit", ("scratch",), None),
    ],
)
def test_places_in_the_study(architecture, phases, place):
    rank = published().rank(architecture, phases)
    assert (rank and rank.place) == place


def test_the_study_s_order_is_held_against_what_was_measured(table):
    # By parameters the CNN, which the study calls simplest, is the largest, and of the rest 36 M stand before 24.6 M.
    words = ranking_text(table)
    assert "By the number of parameters, 0 of 3 pairs lie in the study's order" in words
    assert f"furthest from it, {CNN} has 90 M and {FINETUNED} 24.6 M" in words
    assert "By the number of operations, 2 of 3 pairs lie in the study's order" in words
    assert f"furthest from it, {FROZEN} has 30.7 G and {FINETUNED} 7.7 G" in words


def test_with_one_place_there_is_nothing_to_hold_against_the_study():
    table = complexity_table({CNN: MEASURED[CNN]}, {CNN: RECORDS[CNN]}, published())
    assert "nothing can be held against it" in ranking_text(table)


def test_speed_says_where_it_was_measured(table):
    assert speed_text(table) == "Images a second: one measurement, on CPU with 2 threads, batches of 64."
    mixed = complexity_table({**MEASURED, VIT: facts(1, 1, threads=1)}, RECORDS, published())
    assert "on CPU with 1 thread, batches of 64 and CPU with 2 threads, batches of 64." in speed_text(mixed)
