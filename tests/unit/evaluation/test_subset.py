import pandas as pd

from galmorph.evaluation.subset import stratified


def galaxies(n, elliptical):
    return pd.DataFrame(
        {"CATAID": [f"{k:04d}" for k in range(n)], "label": ["Elliptical"] * elliptical + ["Other"] * (n - elliptical)}
    )


def test_classes_keep_their_shares():
    for most in (10, 50, 99):
        counts = stratified(galaxies(400, 100), most, seed=1)["label"].value_counts()
        assert counts.sum() == most
        assert abs(counts["Elliptical"] - most / 4) <= 1


def test_the_same_whatever_the_order_and_others_with_another_seed():
    table = galaxies(300, 150)
    taken = stratified(table, 40, seed=1)
    assert set(stratified(table.sample(frac=1, random_state=0), 40, seed=1)["CATAID"]) == set(taken["CATAID"])
    assert set(stratified(table, 40, seed=2)["CATAID"]) != set(taken["CATAID"])
    assert taken["CATAID"].is_monotonic_increasing


def test_few_are_all_taken():
    table = galaxies(20, 5)
    assert stratified(table, 20, seed=1) is table
