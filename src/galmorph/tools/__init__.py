"""The tools: commands that are no stages of the pipeline, a module each.

A tool has `NAME` and `SUMMARY`, `arguments(parser)` and `run(options)`. It imports what it needs inside `run`, so that
the command line starts at once. One that people start by `mlflow run` too says `PROJECT = True`: MLproject has an entry
point of its name.

A tool may share the name of a stage, when it does the stage's work on something else than the pipeline's own files:
its arguments join the stage's, and `wanted(options)` tells which of the two is meant.
"""

from types import ModuleType

from galmorph.tools import (
    backup,
    explain,
    finetune,
    predict,
    profile,
    promote,
    restore,
    rollback,
    rows,
    score,
    serve,
    tune,
)

#: In the order of `galmorph --help`.
TOOLS: tuple[ModuleType, ...] = (
    profile, finetune, score, explain, tune, promote, rollback, predict, rows, serve, backup, restore,
)  # fmt: skip
