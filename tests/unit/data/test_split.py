import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from galmorph.data.split import PUBLISHED_TRAIN, assign_splits, uniform
from galmorph.errors import SplitError
from galmorph.params import SplitParams


def params(method="stable", seed=7, train=0.7, validation=0.15, test=0.15, min_per_class=1, max_imbalance=1.0):
    return SplitParams(
        method=method,
        seed=seed,
        fractions={"train": train, "validation": validation, "test": test},
        min_per_class=min_per_class,
        max_imbalance=max_imbalance,
    )


def manifest(count, start=1000, label_seed=0):
    ids = [str(start + index) for index in range(count)]
    labels = np.random.default_rng(label_seed).choice(["Elliptical", "Other"], count)
    return pd.DataFrame({"CATAID": ids, "label": labels, "accepted": True, "group": ids})


def as_dict(splits):
    return dict(zip(splits["CATAID"], splits["split"], strict=True))


def test_every_accepted_galaxy_once_in_the_order_given():
    table = manifest(300)
    table.loc[::7, "accepted"] = False
    splits = assign_splits(table, params())
    assert splits.columns.tolist() == ["CATAID", "split"]
    assert splits["CATAID"].tolist() == table["CATAID"][table["accepted"]].tolist()
    assert set(splits["split"]) == {"train", "validation", "test"}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_moves_when_the_catalogue_grows(seed):
    small = manifest(200)
    large = pd.concat([manifest(150, start=90000, label_seed=1), small, manifest(250, start=5, label_seed=2)])
    before, after = as_dict(assign_splits(small, params(seed=seed))), as_dict(assign_splits(large, params(seed=seed)))
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("seed", range(5))
def test_order_and_labels_play_no_part(seed):
    table = manifest(400)
    shuffled = table.sample(frac=1, random_state=seed)
    relabelled = table.assign(label=manifest(400, label_seed=seed + 1)["label"])
    expected = as_dict(assign_splits(table, params()))
    assert as_dict(assign_splits(shuffled, params())) == expected
    assert as_dict(assign_splits(relabelled, params())) == expected


def test_a_rejected_galaxy_moves_no_other():
    table = manifest(300)
    expected = as_dict(assign_splits(table, params()))
    rejected = table.assign(accepted=np.arange(300) % 3 > 0)
    kept = as_dict(assign_splits(rejected, params()))
    assert len(kept) == 200
    assert kept.items() <= expected.items()


@pytest.mark.parametrize("seed", range(20))
def test_near_duplicates_stay_together(seed):
    table = manifest(600)
    group = (np.arange(600) // 3) * 3  # triples, named after their first member
    table["group"] = table["CATAID"].to_numpy()[group]
    splits = assign_splits(table, params(seed=seed))
    assert splits.groupby(table["group"].to_numpy())["split"].nunique().max() == 1
    alone = as_dict(assign_splits(table.iloc[::3], params(seed=seed)))
    assert alone.items() <= as_dict(splits).items()


def test_another_seed_gives_another_independent_split():
    table = manifest(4000)
    one, other = (assign_splits(table, params(seed=seed))["split"].to_numpy() for seed in (1, 2))
    # Two independent draws agree with probability 0.7² + 2 × 0.15² = 0.535, here within 0.008 (one sigma).
    assert (one == other).mean() == pytest.approx(0.535, abs=0.04)


@pytest.mark.parametrize("shares", [(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.2, 0.0), (0.34, 0.33, 0.33)])
def test_shares_are_right_within_their_statistical_error(shares):
    count = 20000
    splits = assign_splits(manifest(count), params(train=shares[0], validation=shares[1], test=shares[2]))
    for name, share in zip(("train", "validation", "test"), shares, strict=True):
        sigma = np.sqrt(share * (1 - share) / count)
        assert (splits["split"] == name).mean() == pytest.approx(share, abs=4 * sigma + 1e-12)


def test_a_split_without_a_share_gets_no_galaxy_even_at_the_last_hash(monkeypatch):
    last = 1 - 2**-53
    monkeypatch.setattr("galmorph.data.split.uniform", lambda _, group: last if int(group) % 2 else 0.1)
    # The shares miss 1 by less than `Fractions` minds; what lies beyond them must not fall into `test`.
    splits = assign_splits(manifest(40), params(train=0.7, validation=0.3 - 5e-10, test=0.0))
    assert splits["split"].tolist() == ["train", "validation"] * 20


def test_uniform_is_pinned_and_uniform():
    # Written down: were these to change, every split ever made would.
    assert uniform(7, "287931") == pytest.approx(0.4973318482883686, abs=0)
    values = np.sort([uniform(7, str(index)) for index in range(5000)])
    assert values[0] >= 0
    assert values[-1] < 1
    distance = np.abs(values - (np.arange(5000) + 0.5) / 5000).max()
    assert distance < 1.63 / np.sqrt(5000)  # Kolmogorov-Smirnov at 1 %


def test_consecutive_ids_and_seeds_are_not_related():
    values = np.array([[uniform(seed, str(index)) for index in range(2000)] for seed in (0, 1)])
    assert abs(np.corrcoef(values)[0, 1]) < 0.08
    assert abs(np.corrcoef(values[0, 1:], values[0, :-1])[0, 1]) < 0.08


def test_leading_zeros_make_another_galaxy():
    assert uniform(7, "0123") != uniform(7, "123")


def test_published_takes_the_first_four_fifths_in_catalogue_order():
    splits = assign_splits(manifest(50), params("published"))
    assert splits["split"].tolist() == ["train"] * 40 + ["validation"] * 10


def test_published_cuts_before_quarantine():
    table = manifest(50)
    table.loc[[0, 1, 2, 3, 4, 45], "accepted"] = False
    splits = assign_splits(table, params("published"))
    assert splits["split"].tolist() == ["train"] * 35 + ["validation"] * 9
    assert splits["CATAID"].tolist() == [str(1000 + index) for index in range(5, 50) if index != 45]


@pytest.mark.parametrize("empty", ["", None])
def test_published_counts_labelled_rows_only(empty):
    table = manifest(50)
    without = pd.DataFrame({"CATAID": ["9", "8"], "label": empty, "accepted": False, "group": ["9", "8"]})
    table = pd.concat([without, table, without.assign(CATAID=["7", "6"])])
    splits = assign_splits(table, params("published"))
    assert splits["split"].tolist() == ["train"] * 40 + ["validation"] * 10


def test_published_ignores_seed_groups_and_fractions():
    table = manifest(50).assign(group="1000")
    expected = assign_splits(table, params("published"))
    other = assign_splits(table, params("published", seed=99, train=0.5, validation=0.2, test=0.3))
    pd.testing.assert_frame_equal(expected, other)


def test_published_share_is_the_study_s():
    assert PUBLISHED_TRAIN * 5900 == 4720


def test_published_on_the_published_label_file():
    root = os.environ.get("GALMORPH_REAL_DATA")
    if not root:
        pytest.skip("GALMORPH_REAL_DATA is not set: the published label file is not here")
    table = pd.read_csv(Path(root) / "gama" / "2class_list.csv", dtype=str)
    table["label"] = table["TARGET"].map({"0": "Elliptical", "1": "Other"})
    table = table.assign(accepted=True, group=table["CATAID"])
    splits = assign_splits(table, params("published", min_per_class=5, max_imbalance=0.15))
    held_out = table[splits["split"].to_numpy() == "validation"]
    assert held_out["label"].value_counts().to_dict() == {"Elliptical": 567, "Other": 613}
    assert splits["split"].value_counts().to_dict() == {"train": 4720, "validation": 1180}


def test_too_few_of_a_class_names_the_counts_and_the_remedy():
    table = manifest(40).assign(label=["Elliptical"] * 3 + ["Other"] * 37)
    with pytest.raises(SplitError, match=r"at least 5 of each class.*min_per_class.*Received: train \d Elliptical, "):
        assign_splits(table, params(min_per_class=5))


def test_a_split_with_a_tiny_share_that_stays_empty_is_refused():
    with pytest.raises(SplitError, match=r"validation and test must hold.*validation 0 Elliptical, 0 Other"):
        assign_splits(manifest(40), params(train=0.999998, validation=1e-6, test=1e-6))


def test_a_split_without_share_may_be_empty():
    splits = assign_splits(manifest(200), params(train=0.8, validation=0.2, test=0.0))
    assert set(splits["split"]) == {"train", "validation"}


def test_uneven_classes_are_refused_with_a_remedy_for_the_method():
    nearly_sorted = manifest(100).assign(label=["Other"] * 40 + ["Elliptical"] * 59 + ["Other"])
    with pytest.raises(SplitError, match=r"in validation is more.*shuffle it once.*Received: train 40"):
        assign_splits(nearly_sorted, params("published", max_imbalance=0.2))


def test_a_catalogue_sorted_by_class_is_refused_by_published_and_taken_by_stable():
    table = manifest(100).assign(label=["Other"] * 50 + ["Elliptical"] * 50)
    with pytest.raises(SplitError, match=r"validation must hold.*shuffle it once.*validation 20 Elliptical, 0 Other$"):
        assign_splits(table, params("published"))
    assert len(assign_splits(table, params())) == 100


def test_imbalance_is_measured_against_the_whole_set():
    # One Elliptical in five in every split: far from even, and exactly as the whole set.
    table = manifest(1000)
    split = as_dict(assign_splits(table, params()))
    table["label"] = ["Elliptical" if index % 5 == 0 else "Other" for index in range(1000)]
    assert as_dict(assign_splits(table, params(max_imbalance=0.1))) == split
    with pytest.raises(SplitError, match=r"Uneven classes.*split\.seed"):
        assign_splits(table, params(max_imbalance=0.0))


def test_no_galaxy_a_repeated_id_and_an_unlabelled_one_are_refused():
    table = manifest(20)
    with pytest.raises(SplitError, match="0 accepted galaxies"):
        assign_splits(table.assign(accepted=False), params())
    with pytest.raises(SplitError, match=r"more than once.*Received: 1000$"):
        assign_splits(table.assign(CATAID=["1000", "1000", *table["CATAID"][2:]]), params())
    with pytest.raises(SplitError, match=r"Received: another label for 1003$"):
        assign_splits(table.assign(label=table["label"].where(table["CATAID"] != "1003", "")), params())


def test_a_rejected_row_may_repeat_an_id():
    table = manifest(60)
    again = table.iloc[:1].assign(accepted=False)
    assert len(assign_splits(pd.concat([table, again]), params())) == 60
