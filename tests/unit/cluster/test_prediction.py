"""Where a component that answers a share looks for what it is given."""

import pandas as pd

from galmorph.cluster.prediction import TABLE, predict_shard
from galmorph.cluster.values import carried
from tests.predicted import write_cutouts
from tests.unit.cluster.test_artifacts import Handed


def test_an_exported_folder_lies_on_the_volume_as_the_images_do(exported_model, values, tmp_path):
    volume, made = tmp_path / "volume", Handed(str(tmp_path / "predictions"))
    ids = write_cutouts(volume / "cutouts", 3)
    (volume / "exported").symlink_to(exported_model)
    sections = {name: values[name] for name in ("predict", "serve", "acquire", "validate")}
    predict_shard("exported", "cutouts", "", str(volume), "1/1", carried(sections), made)
    assert pd.read_parquet(tmp_path / "predictions" / TABLE)["CATAID"].tolist() == ids
