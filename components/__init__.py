"""Components of Kubeflow Pipelines: each hands artifacts and parameters to one function of `galmorph.cluster`.

A component's function is shipped as text and finds in the image what it imports, nothing else of this folder.
"""

from components.data import acquire, collect_variants, denoise, pull_data, split, validate
from components.outcome import report_outcome
from components.prediction import list_shards, merge_predictions, predict
from components.results import compare, explain, register, robustness
from components.tools import (
    begin_study,
    check_params,
    finish_study,
    gate,
    join_study,
    keep_experiments,
    list_experiments,
    promote,
)
from components.training import evaluate, train

__all__ = [
    "acquire",
    "begin_study",
    "check_params",
    "collect_variants",
    "compare",
    "denoise",
    "evaluate",
    "explain",
    "finish_study",
    "gate",
    "join_study",
    "keep_experiments",
    "list_experiments",
    "list_shards",
    "merge_predictions",
    "predict",
    "promote",
    "pull_data",
    "register",
    "report_outcome",
    "robustness",
    "split",
    "train",
    "validate",
]
