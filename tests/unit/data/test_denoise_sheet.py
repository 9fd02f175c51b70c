import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from galmorph.data.denoise import Quality
from galmorph.data.denoise_sheet import RESIDUAL_GAIN, Panel, brightened, choose, draw, residual, zoomed


def panel(cataid="0012", label="Other", radius=15.0, with_truth=True):
    rng = np.random.default_rng(0)
    original = rng.integers(0, 255, (120, 120, 3), dtype=np.uint8)
    quality = Quality(31.26, 0.875) if with_truth else None
    truth = np.full_like(original, 90) if with_truth else None
    return Panel(cataid, label, radius, original, original // 2, truth, quality, quality)


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_three_of_each_class_small_middling_and_large():
    radii = np.arange(1.0, 31.0)
    galaxies = pd.DataFrame(
        {"CATAID": [str(i) for i in range(30)], "label": ["Other", "Elliptical"] * 15, "radius_pixels": radii}
    )
    chosen = choose(galaxies.sample(frac=1, random_state=1))
    assert chosen["label"].tolist() == ["Elliptical"] * 3 + ["Other"] * 3
    for _, of_class in chosen.groupby("label"):
        assert of_class["radius_pixels"].is_monotonic_increasing
        assert of_class["radius_pixels"].iloc[0] < 8
        assert 12 < of_class["radius_pixels"].iloc[1] < 19
        assert of_class["radius_pixels"].iloc[2] > 22


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_fewer_galaxies_than_places_are_shown_once(count, expected):
    ids = [str(i) for i in range(count)]
    chosen = choose(pd.DataFrame({"CATAID": ids, "label": "Other", "radius_pixels": np.nan}))
    assert len(chosen) == chosen["CATAID"].nunique() == expected


def test_galaxies_without_a_radius_give_way_to_those_with_one():
    radii = [np.nan, 5.0, np.nan, 7.0, 9.0, np.nan]
    galaxies = pd.DataFrame({"CATAID": list("abcdef"), "label": "Other", "radius_pixels": radii})
    assert choose(galaxies)["CATAID"].tolist() == ["b", "d", "e"]


def test_residual_is_grey_where_nothing_changed_and_clips():
    original = np.array([[[10, 100, 200], [250, 0, 7]]], np.uint8)
    denoised = np.array([[[10, 103, 198], [0, 250, 7]]], np.uint8)
    expected = [[[128, 128 - 3 * RESIDUAL_GAIN, 128 + 2 * RESIDUAL_GAIN], [255, 0, 128]]]
    assert residual(original, denoised).tolist() == expected


def test_brightening_is_a_square_root():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, -1)
    found = brightened(image)
    np.testing.assert_allclose(found, 255 * np.sqrt(image / 255), atol=0.501)
    assert (found[0, 0] == 0).all()
    assert (found[-1, -1] == 255).all()


@pytest.mark.parametrize(("radius", "side"), [(1, 64), (10, 80), (15.0, 120), (80, 160), (np.nan, 160)])
def test_zoom_follows_the_radius(radius, side):
    image = np.zeros((300, 301, 3), np.uint8)
    image[150, 150] = 255  # the centre stays the centre
    cut = zoomed(image, radius)
    assert cut.shape == (side, side, 3)
    assert cut[side // 2, side // 2].tolist() == [255] * 3


def test_zoom_of_a_small_image_is_the_image():
    image = np.zeros((40, 33, 3), np.uint8)
    assert zoomed(image, np.nan).shape == image.shape


def test_sheet_says_what_it_shows():
    figure = draw([panel(), panel("7", "Elliptical")], "median")
    shown = "\n".join(texts(figure))
    assert len(figure.axes) == 8
    for expected in (
        "Denoiser: median",
        f"mid-grey + {RESIDUAL_GAIN} ",
        "Other, CATAID 0012, central 120 pixels",
        "31.3 dB, SSIM 0.875",
    ):
        assert expected in shown


def test_sheet_without_truth_has_three_columns_and_no_figures():
    figure = draw([panel(with_truth=False)], "tv")
    assert len(figure.axes) == 3
    assert not [text for text in texts(figure) if "dB" in text]


def test_sheet_with_truth_of_one_only_says_so():
    figure = draw([panel(), panel("7", with_truth=False)], "tv")
    assert len(figure.axes) == 8
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["not kept"]


def test_titles_do_not_run_into_each_other():
    figure = draw([panel("1237648720693755918", "Elliptical")], "bilateral")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
    assert all(box.x1 <= figure.bbox.x1 and box.x0 >= 0 for box in boxes)


def test_sheet_can_be_saved():
    file = io.BytesIO()
    draw([panel()], "nlm").savefig(file)
    file.seek(0)
    assert imread(file).std() > 0.1
