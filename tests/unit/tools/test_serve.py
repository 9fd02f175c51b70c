"""`galmorph serve`'s options, and the values that the service gets."""

import pytest

from galmorph.cli import parser
from galmorph.errors import ParamsError
from galmorph.params import ServiceParams
from galmorph.tools.serve import service_values


def options(*given):
    return parser().parse_args(["serve", *given])


def test_options_stand_in_for_values_and_the_rest_stays(values):
    made = service_values(values, options("--model", "a/folder", "--port", "0", "--workers", "3"), "params.yaml")
    params = ServiceParams.model_validate(made)
    assert (params.serve.model, params.serve.port, params.serve.workers) == ("a/folder", 0, 3)
    assert params.serve.host == values["serve"]["host"]
    assert params.min_side == values["validate"]["min_side"]
    assert params.blank_contrast == values["validate"]["blank_contrast"]
    assert params.bands.lupton.q == values["acquire"]["cutouts"]["lupton"]["q"]


def test_a_file_without_the_section_is_named(values):
    without = {name: section for name, section in values.items() if name != "serve"}
    with pytest.raises(ParamsError, match=r"mine\.yaml: missing key.*Received: no 'serve'"):
        service_values(without, options(), "mine.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limits": {"images": 300}}, "limits.images must be at most batch.queue, 256. Received: 300"),
        ({"drift": {"min_images": 501}}, "min_images must be at most window, 500. Received: 501"),
        ({"port": 70000}, "less than or equal to 65535"),
        ({"workers": 0}, "greater than 0"),
    ],
)
def test_values_that_cannot_work_are_refused(values, change, message):
    from galmorph.params import checked, merged

    made = service_values({**values, "serve": merged(values["serve"], change)}, options(), "params.yaml")
    with pytest.raises(ParamsError, match=message):
        checked(ServiceParams, made, "params.yaml")
