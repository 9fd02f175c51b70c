"""A few galaxies and a model that reads nothing but the mean brightness of what it sees, ready to be evaluated."""

from pathlib import Path

import numpy as np
import pandas as pd

from galmorph import stages, storage
from galmorph.data.denoise import denoise
from galmorph.data.facts import facts_table, measure
from galmorph.edge.validation import card as card_of
from galmorph.params import MedianParams, PreprocessParams, ValidateParams

SIDE = 64
MEDIAN = MedianParams(kernel=3)
EXPERIMENT = "small"
RECIPE = {
    "weights": "none", "phases": ["scratch"], "epochs": [1], "augmentation": None, "class_weights": False,
}  # fmt: skip
PREPROCESS = PreprocessParams(crop=0.75, image_size=16)


def cutout(elliptical: bool, seed: int) -> np.ndarray:
    """Ellipticals lie on a brighter sky, and are otherwise like the others."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    sky = (26 if elliptical else 14) + random.normal(0, 2, (SIDE, SIDE, 3))
    light = 160 * np.exp(-np.hypot(y, x / 0.7) / 3.5)[..., None]
    return np.clip(np.rint(sky + light), 0, 255).astype(np.uint8)


def make(folder: Path, validate: ValidateParams, variant: str = "raw", count: int = 48) -> Path:
    """Fill `folder` with what evaluate reads, as the stages before it would have left it."""
    rows = []
    for index in range(count):
        cataid, label = f"{index:04d}", ("Elliptical", "Other")[index % 2]
        storage.write_image(folder / "data/raw/images" / f"{cataid}.png", cutout(label == "Elliptical", index))
        rows.append((cataid, label, index + 1, "", ("north", "south")[index % 3 > 0]))
    catalogue = pd.DataFrame(rows, columns=["CATAID", "label", "row", "rejected", "field"])
    storage.write_json(folder / "data/raw" / stages.SOURCE_FILE, {"source": "archive mine"})
    data = folder / "data"
    # What validate would say of them, without the suite of Great Expectations, which takes seconds to load.
    images = [storage.image_path(data / "raw/images", cataid) for cataid in catalogue["CATAID"]]
    facts = [measure(path.read_bytes(), path.name, validate) for path in images]
    manifest = facts_table(catalogue, facts).drop(columns="problem").assign(accepted=True, reasons="", flags="")
    storage.write_table(data / "manifest.parquet", manifest)
    storage.write_json(data / "variants/raw.json", {**card_of(manifest), "source": "archive mine"})
    split = np.where(np.arange(count) < count // 3, "validation", "test")
    storage.write_table(data / "splits.parquet", catalogue[["CATAID", "label"]].assign(split=split))
    if variant == "median":
        stages.denoise(
            data / "raw", data / "manifest.parquet", data / "variants/median", data / "variants/median.json",
            folder / "reports/median", MEDIAN, "median",
        )  # fmt: skip
    means = [seen_mean(cutout(elliptical, seed), variant) for elliptical, seed in ((True, 0), (False, 1))]
    write_model(folder / "models" / EXPERIMENT / "model.keras", data / "variants" / f"{variant}.json", variant, means)
    return folder


def seen_mean(image: np.ndarray, variant: str) -> float:
    """Mean level of what the model sees."""
    from galmorph.data.dataset import prepare

    return float(prepare(denoise(image, MEDIAN) if variant == "median" else image, PREPROCESS).mean())


def write_model(path: Path, card: Path, variant: str, means: list[float]) -> None:
    """Write a model whose logit is the mean level above the middle between the two classes."""
    import keras

    from galmorph.models.layers import image_input, logit, with_probability
    from galmorph.models.saved import ModelFacts, save_model

    image = image_input(PREPROCESS.image_size)
    model = keras.Model(image, logit(keras.layers.GlobalAveragePooling2D(name="mean")(image)), name="reads_the_sky")
    model.get_layer("logit").set_weights([np.full((3, 1), 1 / 3), np.array([-sum(means) / 2])])
    facts = ModelFacts.model_validate(
        {
            "galmorph": "0", "experiment": EXPERIMENT, "architecture": "baseline_cnn", "variant": variant,
            "preprocess": PREPROCESS.model_dump(), "denoiser": storage.read_json(card).get("denoiser"),
            "temperature": 2.0, "recipe": RECIPE, "seed": 1, "data_digest": storage.read_json(card)["digest"],
            "params_digest": "p" * 64, "git_commit": None, "run_id": None,
        }
    )  # fmt: skip
    save_model(path, with_probability(model, 2.0), facts)
