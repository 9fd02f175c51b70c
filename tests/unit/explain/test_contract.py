"""The explainer contract: what holds for every method of `METHODS`."""

import numpy as np
import pytest

from galmorph.errors import InputError
from galmorph.explain.base import Explainer
from galmorph.explain.methods import METHODS, fitting


def made(name, model, params, batch_size) -> Explainer:
    return METHODS[name](model, params.model_copy(update={"batch_size": batch_size}))


@pytest.mark.parametrize("name", sorted(METHODS))
class TestContract:
    @pytest.fixture
    def model(self, name, model, transformer):
        return model if fitting(model, (name,)) else transformer

    @pytest.mark.parametrize("batch_size", [1, 2, 8])
    def test_a_map_for_every_image(self, name, explain_params, batch_size, model, galaxies):
        maps = made(name, model, explain_params, batch_size).explain(galaxies, ["Elliptical"] * 5)
        assert maps.shape == galaxies.shape[:3]
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()

    def test_batches_do_not_matter(self, name, explain_params, model, galaxies):
        target = ["Elliptical", "Other"] * 2 + ["Other"]
        together = made(name, model, explain_params, 5).explain(galaxies, target)
        alone = made(name, model, explain_params, 1).explain(galaxies, target)
        np.testing.assert_allclose(together, alone, atol=1e-5 * max(1.0, float(together.max())))

    def test_the_target_matters_where_a_method_says_so(self, name, explain_params, model, galaxies):
        explainer = made(name, model, explain_params, 5)
        one, other = (explainer.explain(galaxies, [label] * 5) for label in ("Elliptical", "Other"))
        assert np.allclose(one, other) == (explainer.classless)

    def test_no_image_gives_no_map(self, name, explain_params, model, galaxies):
        assert made(name, model, explain_params, 4).explain(galaxies[:0], []).shape == (0, 24, 24)

    def test_a_constant_image_is_explained_without_a_fuss(self, name, explain_params, model):
        assert np.isfinite(
            made(name, model, explain_params, 4).explain(np.full((1, 24, 24, 3), 7, np.uint8), ["Other"])
        ).all()

    def test_an_unknown_target_is_refused(self, name, explain_params, model, galaxies):
        with pytest.raises(InputError, match=r"Elliptical, Other.*'Spiral'"):
            made(name, model, explain_params, 4).explain(galaxies, ["Spiral"] * 5)

    def test_a_wrong_size_is_refused(self, name, explain_params, model):
        with pytest.raises(InputError, match=r"24, 24, 3.*\(1, 8, 8, 3\)"):
            made(name, model, explain_params, 4).explain(np.zeros((1, 8, 8, 3)), ["Other"])

    def test_nan_is_refused_and_the_image_named(self, name, explain_params, model, galaxies):
        broken = galaxies.astype(float)
        broken[3, 2, 2, 0] = np.nan
        with pytest.raises(InputError, match="image 3"):
            made(name, model, explain_params, 4).explain(broken, ["Other"] * 5)

    def test_values_outside_the_range_are_refused(self, name, explain_params, model, galaxies):
        with pytest.raises(InputError, match=r"\[0, 255\].*scaling is the model's own"):
            made(name, model, explain_params, 5).explain(galaxies / 255.0 - 0.5, ["Other"] * 5)

    def test_a_type_that_is_no_image_is_refused(self, name, explain_params, model, galaxies):
        with pytest.raises(InputError, match="int64"):
            made(name, model, explain_params, 5).explain(galaxies.astype(np.int64), ["Other"] * 5)

    def test_every_image_needs_a_target(self, name, explain_params, model, galaxies):
        with pytest.raises(InputError, match="5 images and 1 targets"):
            made(name, model, explain_params, 5).explain(galaxies, ["Other"])

    def test_the_same_answer_twice(self, name, explain_params, model, galaxies):
        explainer = made(name, model, explain_params, 5)
        first = explainer.explain(galaxies, ["Other"] * 5)
        np.testing.assert_array_equal(first, explainer.explain(galaxies, ["Other"] * 5))

    def test_facts_are_one_for_each_image(self, name, explain_params, model, galaxies):
        facts = made(name, model, explain_params, 2).attribute(galaxies, ["Other"] * 5).facts
        assert all(values.shape == (5,) for values in facts.values())

    def test_it_says_what_it_is(self, name, explain_params, model):
        explainer = made(name, model, explain_params, 5)
        assert explainer.name == name
        assert explainer.title
        assert explainer.meaning


def test_methods_that_a_model_does_not_allow_are_passed_over(model, transformer):
    asked = ("grad_cam", "attention_rollout")
    assert fitting(model, asked) == ("grad_cam",)
    assert fitting(transformer, asked) == ("attention_rollout",)


@pytest.mark.parametrize("name", ["grad_cam_tv", "integrated_gradients_denoised"])
def test_refining_another_methods_answers_is_asking_again(name, model, galaxies, explain_params):
    refining = METHODS[name](model, explain_params)
    base = METHODS[refining.refines](model, explain_params).attribute(galaxies, ["Other"] * 5)
    refined, asked = refining.refined(base), refining.attribute(galaxies, ["Other"] * 5)
    np.testing.assert_array_equal(refined.maps, asked.maps)
    assert refined.facts.keys() == asked.facts.keys()
