import pytest

from galmorph.errors import ParamsError
from galmorph.params import PredictParams, predict_values


def test_the_service_s_values_are_shared(values):
    made = PredictParams.model_validate(predict_values(values, "params.yaml"))
    assert made.near_threshold == values["serve"]["near_threshold"]
    assert made.precision == values["serve"]["precision"]
    assert made.min_side == values["validate"]["min_side"]
    assert made.max_pixels == values["acquire"]["max_pixels"]
    assert list(made.patterns) == values["acquire"]["archive"]["patterns"]
    assert made.predict.batch == values["predict"]["batch"]


def test_numbers_survive_a_trip_through_floats(values):
    """Kubeflow hands every number over as a float."""
    floated = {**values, "predict": {key: value and float(value) for key, value in values["predict"].items()}}
    made = PredictParams.model_validate(predict_values(floated, "params.yaml"))
    assert made.predict.part == values["predict"]["part"]


@pytest.mark.parametrize("name", ["predict", "serve", "acquire", "validate"])
def test_a_missing_section_is_named(values, name):
    without = {key: section for key, section in values.items() if key != name}
    with pytest.raises(ParamsError, match=rf"mine\.yaml: missing key\. .*Received: no '{name}'"):
        predict_values(without, "mine.yaml")
