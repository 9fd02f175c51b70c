"""Temperature scaling: one number, fitted on validation, that makes probabilities mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar

#: Temperatures outside these say that the fit has run away (all answers right, or none better than chance).
_RANGE = (0.05, 20.0)


def log_loss(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean cross-entropy of `(N,)` logits against `(N,)` targets in {0, 1}; finite at any logit."""
    return float(np.mean(np.logaddexp(0.0, logits) - y * logits))


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Find the temperature that minimises the log loss of `logits / temperature`.

    Parameters
    ----------
    logits
        `(N,)` float.
    y
        `(N,)` targets in {0, 1}.

    Returns
    -------
    float
        Between 0.05 and 20.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    fit = minimize_scalar(
        lambda log_temperature: log_loss(logits / np.exp(log_temperature), y),
        bounds=tuple(np.log(_RANGE)),
        method="bounded",
    )
    return float(np.exp(fit.x))
