"""The model card: what a registered version is, how good it is, and where not to trust it, made from its numbers.

After Mitchell et al. 2019, "Model Cards for Model Reporting", doi:10.1145/3287560.3287596.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from galmorph.evaluation.caveats import where_from
from galmorph.evaluation.metrics import CLASSES, OVERALL, PER_CLASS
from galmorph.evaluation.text import NONE, large, p_text, percent, score_text, signed, slice_name

LICENCE = "Apache-2.0"
#: How the scores are called, in the order of `metrics.OVERALL`.
_HEADINGS = ("loss", "accuracy", "balanced accuracy", "ROC AUC", "PR AUC", "Brier score", "calibration error")
_CUT = "\n\n…\n\nThe whole card is the artifact `model_card.md` of the version's run.\n"


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes
    ----------
    registered
        Name of the registered model.
    facts
        Of the model file; see `models.saved.ModelFacts`.
    metrics, complexity
        `metrics.json` and `complexity.json` of the evaluation.
    robustness, faithfulness
        Their records, or None where there is none.
    taught
        Galaxies of train and of validation.
    tags
        Further tags of the version: commit and DVC revision.
    """

    registered: str
    facts: Mapping[str, Any]
    metrics: Mapping[str, Any]
    complexity: Mapping[str, Any]
    robustness: Mapping[str, Any] | None
    faithfulness: Mapping[str, Any] | None
    taught: Mapping[str, int]
    tags: Mapping[str, str]


def model_card(card: CardFacts) -> str:
    """Write the card as Markdown.

    Its limits and how to use it come first: they are what a description that is cut short must keep.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("galmorph.evaluation"),
        autoescape=False,  # noqa: S701 - Markdown, of numbers and of names from params.yaml
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    scores = card.metrics[card.metrics["scored_split"]]
    return environment.get_template("model_card.md").render(
        registered=card.registered,
        facts=card.facts,
        metrics=card.metrics,
        scores=scores,
        summary=_summary(card, scores),
        limits=limits(card),
        score_lines=_score_lines(scores),
        slice_lines=_slice_lines(card.metrics),
        shortcut=_shortcut(card.metrics),
        robustness=_robustness(card.robustness),
        explanation_lines=_explanation_lines(card.faithfulness),
        data_lines=_data_lines(card),
        complexity=_complexity(card.complexity),
        licence=LICENCE,
    )


def shortened(card: str, limit: int) -> str:
    """Cut a card to at most `limit` characters, before a heading, and say where the whole one is."""
    if len(card) <= limit:
        return card
    kept = card[: limit - len(_CUT)]
    sections = kept.rfind("\n## ")
    return (kept[:sections] if sections > 0 else kept).rstrip() + _CUT


def limits(card: CardFacts) -> list[str]:
    """Say in sentences where the answers are not to be trusted, as far as the numbers show."""
    metrics, facts = card.metrics, card.facts
    source = metrics.get("data_source")
    found = [
        "It gives one of two answers, Elliptical or Other, to any image: to a star, an artefact or a dog as well.",
        f"It learned from {where_from(source)}. Another survey's bands, depth, seeing or stretch are another task.",
    ]
    if metrics["scored_split"] != "test":
        found.append("**There is no test split**: the scores are on the galaxies that it was chosen by, and flatter.")
    if facts["recipe"]["weights"] == "none":
        found.append(f"It was trained from random weights, at {facts['preprocess']['image_size']} px.")
    found += [f"Worse than elsewhere: {line}" for line in _worse(metrics)]
    shortcuts = metrics.get("shortcuts")
    if shortcuts and shortcuts["without_galaxy"]["warning"]:
        found.append(
            "**It answers without the galaxy** better than by chance: something around it gives the class away."
        )
    found += [
        f"The explanations by {method['title']} failed the check {check}: {verdict['reason'].rstrip('.')}."
        for method in (card.faithfulness or {}).get("methods", {}).values()
        for check, verdict in method["verdicts"].items()
        if verdict["verdict"] == "failed"
    ]
    return found


def _worse(metrics: Mapping[str, Any]) -> list[str]:
    return [
        f"{_slice_name(group, name, one)}, accuracy {score_text(one['accuracy'])} where its own probabilities promise "
        f"{one['promised']:.3f} (n = {one['n']:,})."
        for group, parts in (metrics.get("slices") or {}).items()
        for name, one in parts.items()
        if one["warning"]
    ]


def _summary(card: CardFacts, scores: Mapping[str, Any]) -> str:
    facts, metrics = card.facts, card.metrics
    seen = facts["preprocess"]
    return (
        f"Tells elliptical galaxies from others in colour cutouts: {facts['architecture']}, images "
        f"`{facts['variant']}`, the inner {percent(seen['crop'])} of the frame at {seen['image_size']} px. Accuracy "
        f"{score_text(scores['accuracy'])} on {metrics['scored_split']}."
    )


def _score_lines(scores: Mapping[str, Any]) -> list[str]:
    rows = [[heading, score_text(scores[name])] for name, heading in zip(OVERALL, _HEADINGS, strict=True)]
    per_class = [
        [label, f"{scores['support'][label]:,}", *(score_text(scores[name][label]) for name in PER_CLASS)]
        for label in CLASSES
    ]
    return [
        *_table(["score", "value"], rows),
        "",
        *_table(["class", "galaxies", "precision", "recall", "F1"], per_class),
    ]


def _slice_lines(metrics: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            _slice_name(group, name, one),
            f"{one['n']:,}",
            score_text(one["accuracy"]),
            signed({"value": one["difference"]}),
            NONE if one["p_holm"] is None else p_text(one["p_holm"]),
            "**worse**" if one["warning"] else "",
        ]
        for group, parts in (metrics.get("slices") or {}).items()
        for name, one in parts.items()
    ]
    return _table(["slice", "galaxies", "accuracy", "less the rest", "p (Holm)", ""], rows) if rows else ["Not scored."]


def _slice_name(group: str, name: str, one: Mapping[str, Any]) -> str:
    # A bar would end the cell of the table.
    return slice_name(group, name, one["range"]).replace("|", "\\|")


def _shortcut(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("shortcuts")
    if not found:
        return "Not tested."
    without, blind = found["without_galaxy"], found["blind"]
    verdict = (
        "**Yes, it finds an answer without it**: something outside the galaxy gives the class away."
        if without["warning"]
        else "That is no better than not looking."
    )
    return (
        f"With the galaxy masked out it is right on {score_text(without['accuracy'])} of {found['n']:,} cutouts; "
        f"always saying {blind['answer']} is right on {blind['accuracy']:.3f}. {verdict} Of the same cutouts it is "
        f"right on {score_text(found['without_surroundings']['accuracy'])} with sky and neighbours replaced, and on "
        f"{score_text(found['original']['accuracy'])} as they are."
    )


def _robustness(robustness: Mapping[str, Any] | None) -> str:
    return "Not measured." if robustness is None else str(robustness["summary"])


def _explanation_lines(faithfulness: Mapping[str, Any] | None) -> list[str]:
    if faithfulness is None:
        return ["Not checked."]
    methods = faithfulness["methods"].values()
    checks = list(dict.fromkeys(check for method in methods for check in method["verdicts"]))
    if not checks:
        return ["Not checked."]
    rows = [
        [method["title"], *(method["verdicts"].get(check, {"verdict": NONE})["verdict"] for check in checks)]
        for method in methods
    ]
    return _table(["method", *(check.replace("_", " ") for check in checks)], rows)


def _data_lines(card: CardFacts) -> list[str]:
    facts, recipe = card.facts, card.facts["recipe"]
    told = {
        "source": where_from(card.metrics.get("data_source")),
        "galaxies": ", ".join(f"{count:,} {split}" for split, count in card.taught.items()),
        "data digest": f"`{facts['data_digest']}`",
        "parameters digest": f"`{facts['params_digest']}`",
        "model digest": f"`{card.metrics['model_digest']}`",
        "trained": ", ".join(
            f"{phase} ({n} epochs)" for phase, n in zip(recipe["phases"], recipe["epochs"], strict=False)
        ),
        "pretrained weights": recipe["weights"],
        "augmentation": recipe["augmentation"] or "none",
        "temperature": f"{facts['temperature']:.3f}",
        **{key.replace("_", " "): f"`{value}`" for key, value in card.tags.items()},
    }
    return _table(["", ""], [[key, str(value)] for key, value in told.items()])


def _complexity(complexity: Mapping[str, Any]) -> str:
    parameters = complexity["parameters"]
    return (
        f"{sum(complexity['layers'].values())} layers, {large(parameters['total'])} parameters "
        f"({large(parameters['trainable'])} trained), {large(complexity['flops'])} floating-point operations an image."
    )


def _table(headings: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]
