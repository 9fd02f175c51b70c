"""The dashboard of trainings and studies, where GALMORPH_METRICS_PORT is set."""

from typing import Any

from infra.grafana.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Panel,
    Row,
    bars,
    dashboard,
    lines,
    stat,
    values_of,
)

_CHOSEN = '{experiment=~"$experiment"}'
_SPLITS = {"train": BLUE, "validation": ORANGE}


def training() -> dict[str, Any]:
    """Return the dashboard."""
    rows = [
        Row("Under way", _under_way()),
        Row("$experiment", _experiment(), repeat="experiment"),
        Row("Tuning", _tuning()),
    ]
    return dashboard(
        "galmorph-training",
        "galmorph: training",
        "Trainings and studies that are under way. MLflow keeps the same numbers for good.",
        rows,
        variables=[values_of("experiment", "experiment", "galmorph_training_images_total")],
        other="The service",
        period="3h",
    )


def _under_way() -> list[Panel]:
    epoch, planned, seconds, kept = (
        f"galmorph_training_{name}{_CHOSEN}"
        for name in ("epoch", "epochs_planned", "epoch_seconds", "checkpoint_timestamp_seconds")
    )
    return [
        stat(
            "Under way",
            "The phase that each experiment is in. An experiment that is missing has ended, or was started without "
            "GALMORPH_METRICS_PORT.",
            (f"max by (experiment, phase) (galmorph_training_phase{_CHOSEN}) == 1", "{{experiment}}: {{phase}}"),
            unit="short",
            show="name",
            width=6,
        ),
        bars(
            "Epochs",
            "Of those planned. A phase that early stopping ends leaves some out.",
            (f"max by (experiment) ({epoch} / {planned})", "{{experiment}}"),
            unit="percentunit",
            most=1,
            width=6,
            height=4,
        ),
        stat(
            "Left, at most",
            "If no phase ends early and every epoch takes as long as the last.",
            (f"max by (experiment) (({planned} - {epoch}) * {seconds})", "{{experiment}}"),
            unit="s",
            show="value_and_name",
            width=6,
        ),
        stat(
            "Since the last checkpoint",
            "What would be lost if the process died now. Much longer than an epoch: the disk is full or the process "
            "hangs; see its log. Killed, it goes on from here by the same command.",
            (f"time() - max by (experiment) ({kept})", "{{experiment}}"),
            unit="s",
            show="value_and_name",
            width=6,
        ),
    ]


def _experiment() -> list[Panel]:
    return [
        lines(
            "Loss",
            "Of each epoch. Training's is what is minimised, validation's the cross entropy: they are no counterparts "
            "(docs/training.md). Validation rises while training falls: it learns by heart; augment more, or stop.",
            (f"max by (split) (galmorph_training_loss{_CHOSEN})", "{{split}}"),
            unit="short",
            colours=_SPLITS,
            width=8,
        ),
        lines(
            "Accuracy",
            "Of each epoch. Validation that stays at a half has learned nothing: see the learning rate.",
            (f"max by (split) (galmorph_training_accuracy{_CHOSEN})", "{{split}}"),
            unit="percentunit",
            colours=_SPLITS,
            most=1,
            width=8,
        ),
        lines(
            "Images learned from",
            "A second, or features of them in the frozen phase, which is much faster. It falls with the machine's "
            "load; at 0 for long: validation, a checkpoint, or a process that hangs.",
            (f"sum(rate(galmorph_training_images_total{_CHOSEN}[$__rate_interval]))", "images"),
            unit="cps",
            colours={"images": GREEN},
            width=8,
        ),
        lines(
            "An epoch takes",
            "With its validation. Growing from epoch to epoch: memory runs out, or others took the cores.",
            (f"max(galmorph_training_epoch_seconds{_CHOSEN})", "an epoch"),
            unit="s",
            colours={"epoch": PURPLE},
            width=8,
        ),
        lines(
            "Learning rate",
            "Of each epoch: it warms up, and stays or falls along a cosine, in each phase anew.",
            (f"max(galmorph_training_learning_rate{_CHOSEN})", "learning rate"),
            unit="sci",
            colours={"rate": SKY},
            width=8,
        ),
        lines(
            "Epochs since the best",
            "At train.early_stopping the phase ends, and its best epoch is kept.",
            (f"max(galmorph_training_epoch{_CHOSEN} - galmorph_training_best_epoch{_CHOSEN})", "epochs"),
            unit="short",
            colours={"epochs": VERMILLION},
            width=8,
        ),
    ]


def _tuning() -> list[Panel]:
    states = {"complete": BLUE, "pruned": SKY, "running": GREEN, "fail": VERMILLION, "waiting": GREY}
    return [
        lines(
            "Trials",
            "Of each study, by state. Many that fail: the runs in MLflow say why; narrow tune.space.",
            ("max by (study, state) (galmorph_tuning_trials)", "{{study}}: {{state}}"),
            unit="short",
            colours=states,
        ),
        lines(
            "The best trial",
            "What is searched for. If it has not moved for many trials, more of them will not help.",
            ("max by (study, metric) (galmorph_tuning_best_value)", "{{study}}: {{metric}}"),
            unit="short",
            colours={},
        ),
    ]
