"""All scores together, and the record that is made of them."""

import json

import numpy as np
import pytest

from galmorph.errors import InputError
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.measure import SCORES, measure
from galmorph.explain.faithfulness.record import faithfulness_record, shares_table
from galmorph.explain.grad_cam import GradCam, GradCamTv
from tests.lookers import CENTRE, PREPROCESS, Brightness, Edges, frame, galaxies_of, reads


@pytest.fixture(scope="module")
def mixed():
    """A galaxy with a blank channel, a frame without a galaxy, and six others."""
    random = np.random.default_rng(9)
    frames = [frame(random, blank="g"), frame(random, galaxy=False, neighbour=False)]
    return galaxies_of([*frames, *(frame(random) for _ in range(6))], blank=["g"] + [""] * 7)


@pytest.fixture(scope="module")
def model():
    return reads(CENTRE)


@pytest.fixture(scope="module")
def explainers(model):
    return {"grad_cam": GradCam(model, None, 4), "brightness": Brightness(model, 4), "edges": Edges(model, 4)}


@pytest.fixture(scope="module")
def maps(explainers, mixed):
    made = {name: explainer.explain(mixed.images, mixed.target) for name, explainer in explainers.items()}
    made["brightness"][4] = 0
    return made


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def measured(explainers, model, mixed, maps, scores, told):
    return measure(explainers, model, mixed, maps, PREPROCESS, scores, 5, 16, told.append)


@pytest.fixture(scope="module")
def record(measured, explainers, scores):
    return faithfulness_record(measured, explainers, "d" * 64, "validation", scores, 5)


def test_the_record_is_json_without_nan(record):
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_every_method_has_every_score_and_verdict(record):
    assert list(record["methods"]) == ["grad_cam", "brightness", "edges"]
    for one in record["methods"].values():
        assert tuple(one["scores"]) == SCORES
        assert set(one["verdicts"]) == {"randomisation", "deletion", "insertion", "on_galaxy"}
        assert {verdict["verdict"] for verdict in one["verdicts"].values()} <= {"passed", "failed", "undecided"}
        assert all(verdict["reason"] for verdict in one["verdicts"].values())


def test_a_score_is_a_mean_within_its_interval(record):
    for one in record["methods"].values():
        for score in one["scores"].values():
            assert score["low"] is None or score["low"] <= score["value"] <= score["high"]


def test_every_galaxy_is_scored_or_counted_out(record, scores):
    for one in record["methods"].values():
        for score in one["scores"].values():
            assert score["n"] + sum(score["left_out"].values()) == record["galaxies"] == 8
    grad_cam, brightness = (record["methods"][name] for name in ("grad_cam", "brightness"))
    assert record["no_galaxy_found"] == 1
    assert grad_cam["scores"]["galaxy_share"]["left_out"] == {"no galaxy found": 1}
    assert brightness["scores"]["galaxy_share"]["left_out"] == {"no galaxy found": 1, "empty map": 1}
    assert brightness["scores"]["deletion"]["left_out"] == {"empty map": 1}
    assert brightness["empty_maps"] == 1
    again = scores.stability_galaxies
    assert grad_cam["scores"]["turn_stability"]["left_out"] == {"not among those explained again": 8 - again}


def test_what_should_pass_and_fail_does(record):
    verdicts = {
        name: {check: one["verdict"] for check, one in method["verdicts"].items()}
        for name, method in record["methods"].items()
    }
    assert verdicts["grad_cam"]["deletion"] == verdicts["grad_cam"]["on_galaxy"] == "passed"
    assert verdicts["edges"]["randomisation"] == verdicts["brightness"]["randomisation"] == "failed"


def test_the_matrix_is_in_the_methods_order_with_intervals(record, measured):
    """Of `brightness` one map is empty: seven galaxies of eight are left to its row and column."""
    found = record["agreement"]
    assert found["methods"] == list(record["methods"]) == ["grad_cam", "brightness", "edges"]
    assert found["n"] == [[8, 7, 8], [7, 7, 7], [8, 7, 8]]
    np.testing.assert_allclose(found["matrix"], np.nanmean(measured.agreement, 0), atol=1e-6)
    for row, column in ((0, 1), (1, 0), (2, 0)):
        assert found["low"][row][column] < found["matrix"][row][column] < found["high"][row][column]
        assert found["low"][row][column] == found["low"][column][row]
    assert [found["low"][at][at] for at in range(3)] == [None] * 3, "a map is like itself, whatever the galaxies"


def test_the_cascade_is_there_for_every_method(record):
    for points in record["randomisation"].values():
        assert [point["layers"] for point in points] == [1, 2, 3]
        assert all(point["of"] == 3 and point["correlation"]["n"] <= 4 for point in points)


def test_galaxies_explained_by_their_neighbours_are_listed_the_clearest_first(record, measured, scores):
    found, counts = record["on_galaxy"]["neighbours"], record["on_galaxy"]["explained_by_neighbours"]
    for name, of_method in measured.scores.items():
        assert counts[name] == int((of_method["neighbour_share"] > of_method["galaxy_share"]).sum())
    excess = [row["neighbour_share"] - row["galaxy_share"] for row in found]
    assert excess == sorted(excess, reverse=True)
    assert all(value > 0 for value in excess)
    assert len(found) == min(sum(counts.values()), scores.max_listed)


def test_lists_are_cut_and_counts_are_not(measured, explainers, scores):
    """Were neighbours what the maps show, seven galaxies of three methods would be listed."""
    swapped = {
        name: {**of_method, "galaxy_share": of_method["neighbour_share"], "neighbour_share": of_method["galaxy_share"]}
        for name, of_method in measured.scores.items()
    }
    few = scores.model_copy(update={"max_listed": 2})
    other = type(measured)(**{**vars(measured), "scores": swapped})
    found = faithfulness_record(other, explainers, "d" * 64, "test", few, 5)["on_galaxy"]
    assert len(found["neighbours"]) == 2
    assert sum(found["explained_by_neighbours"].values()) > 10


def test_the_blank_channel_is_asked_about(record, mixed):
    assert record["on_galaxy"]["with_blank_channel"] == 1
    assert record["on_galaxy"]["blank_channel_change"]["n"] == 1
    assert len(record["on_galaxy"]["blank_channel"]) == record["on_galaxy"]["blank_channel_flips"]
    assert {row["CATAID"] for row in record["on_galaxy"]["blank_channel"]} <= {mixed.cataids[0]}


def test_what_is_needed_to_do_it_again_is_kept(record, scores):
    assert record["seed"] == 5
    assert record["model_digest"] == "d" * 64
    assert record["scored_split"] == "validation"
    assert type(scores).model_validate(record["parameters"]) == scores


def test_shares_are_laid_out_for_pictures(measured, mixed):
    table = shares_table(measured)
    assert list(table.columns) == ["CATAID", "method", "galaxy", "neighbours", "sky", "uniform"]
    assert len(table) == 24
    of_cam = table[table["method"] == "grad_cam"].set_index("CATAID")
    assert list(of_cam.index) == list(mixed.cataids)
    np.testing.assert_array_equal(of_cam["galaxy"], measured.scores["grad_cam"]["galaxy_share"])
    assert of_cam["uniform"].isna().sum() == 1


def test_progress_says_what_is_done(told, measured):
    assert "scores of Brightness" in told
    assert told[-1] == "maps of a model with 3 of 3 layers random"


def test_neither_batches_nor_the_order_of_galaxies_matter(explainers, model, mixed, maps, scores, measured):
    order = np.array([3, 0, 7, 1, 2, 6, 5, 4])
    turned_round = Galaxies(
        [mixed.cataids[at] for at in order],
        mixed.images[order],
        (mixed.frames[at] for at in order),
        [mixed.target[at] for at in order],
        [mixed.blank_channels[at] for at in order],
    )
    found = measure(
        explainers,
        model,
        turned_round,
        {name: of_method[order] for name, of_method in maps.items()},
        PREPROCESS,
        scores,
        5,
        3,
        lambda _: None,
    )
    for name, of_method in measured.scores.items():
        for score in SCORES:
            np.testing.assert_allclose(found.scores[name][score], of_method[score][order], atol=1e-4, err_msg=score)


def test_a_method_that_refines_another_does_not_ask_the_model_again(model, mixed, scores):
    class Refining(GradCamTv):
        def _attribute(self, images, signs):
            raise AssertionError("Grad-CAM's answer was there")

    alone = {"grad_cam_tv": GradCamTv(model, None, 0.1, 4)}
    both = {"grad_cam": GradCam(model, None, 4), "grad_cam_tv": Refining(model, None, 0.1, 4)}
    made = {name: explainer.explain(mixed.images, mixed.target) for name, explainer in (both | alone).items()}
    by_itself, refined = (
        measure(asked, model, mixed, made, PREPROCESS, scores, 5, 16, lambda _: None) for asked in (alone, both)
    )
    for score in SCORES:
        np.testing.assert_array_equal(refined.scores["grad_cam_tv"][score], by_itself.scores["grad_cam_tv"][score])
    for one, other in zip(refined.randomisation["grad_cam_tv"], by_itself.randomisation["grad_cam_tv"], strict=True):
        np.testing.assert_array_equal(one.signed, other.signed)


class TestBadInput:
    def refused(self, explainers, model, galaxies, maps, scores):
        measure(explainers, model, galaxies, maps, PREPROCESS, scores, 5, 16, lambda _: None)

    def test_attributions_that_are_missing(self, explainers, model, mixed, maps, scores):
        with pytest.raises(InputError, match=r"edges: its attributions .*Received: none"):
            self.refused(explainers, model, mixed, {name: maps[name] for name in ("grad_cam", "brightness")}, scores)

    def test_attributions_of_other_images(self, explainers, model, mixed, maps, scores):
        with pytest.raises(InputError, match=r"grad_cam: .*\(8, 32, 32\).*\(3, 32, 32\)"):
            self.refused(explainers, model, mixed, {**maps, "grad_cam": maps["grad_cam"][:3]}, scores)

    def test_no_galaxy(self, explainers, model, mixed, maps, scores):
        with pytest.raises(InputError, match="0 galaxies and 3 methods"):
            self.refused(explainers, model, mixed.only(np.array([], int)), maps, scores)

    def test_no_method(self, model, mixed, scores):
        with pytest.raises(InputError, match="8 galaxies and 0 methods"):
            self.refused({}, model, mixed, {}, scores)
