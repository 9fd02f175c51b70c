"""The tools: commands that are no stages of the pipeline, a module each.

A tool has `NAME` and `SUMMARY`, `arguments(parser)` and `run(options)`. It imports what it needs inside `run`, so that
the command line starts at once. One that people start by `mlflow run` too says `PROJECT = True`: MLproject has an entry
point of its name.
"""

from types import ModuleType

from galmorph.tools import finetune, profile, score, serve, tune

#: In the order of `galmorph --help`.
TOOLS: tuple[ModuleType, ...] = (profile, finetune, score, tune, serve)
