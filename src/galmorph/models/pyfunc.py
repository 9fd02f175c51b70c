"""The registered model, as code: MLflow runs this file when it loads a version, and needs nothing of galmorph.

No pickle is involved: the weights are the artifact `model`, a `.keras` file that loads in safe mode.
"""

from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class GalaxyClassifier(PythonModel):
    """Answers prepared cutouts: `(N, S, S, 3)` float32 RGB in [0, 255] at the model's size."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights."""
        self.model = keras.saving.load_model(context.artifacts["model"], safe_mode=True, compile=False)

    def predict(  # MLflow names the arguments
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return `p_elliptical` and `label` of each image."""
        p_elliptical = self.model.predict(np.asarray(model_input, np.float32), verbose=0)[:, 0].astype(float)
        labels = np.where(p_elliptical >= 0.5, "Elliptical", "Other")
        return pd.DataFrame({"p_elliptical": p_elliptical, "label": labels})


mlflow.models.set_model(GalaxyClassifier())
