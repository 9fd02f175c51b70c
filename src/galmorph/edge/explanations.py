"""What `galmorph explain` writes, for the pipeline's model and for any other one: attributions, scores, report."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galmorph.edge.activation_sheets import show_activations
from galmorph.edge.attributions import read_attributions, read_facts, write_attributions
from galmorph.edge.explained_galaxies import explained, numbers
from galmorph.edge.subject import Subject
from galmorph.errors import InputError
from galmorph.explain.base import Explainer
from galmorph.explain.embedding import png
from galmorph.explain.explained import AboutMethod, Activation, Explained, MethodMap
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.measure import Measurements, measure
from galmorph.explain.faithfulness.record import faithfulness_record, shares_table
from galmorph.explain.methods import explainers
from galmorph.explain.reason import reasons
from galmorph.explain.report import Checked, Model, Reported, render
from galmorph.explain.sheet import sheet
from galmorph.params import ExplainParams
from galmorph.storage import write_bytes, write_json, write_table, write_text

_log = logging.getLogger(__name__)

REPORT_FILE, FAITHFULNESS_FILE = "report.html", "faithfulness.json"


def write_explanations(folder: Path, subject: Subject, params: ExplainParams) -> dict[str, Any]:
    """Explain, check the explanations, and report.

    Parameters
    ----------
    folder
        Filled with `attributions/`, `faithfulness.json`, `on_galaxy.csv`, `activations/`, `sheet.png` and
        `report.html`. Attributions that an interrupted run left there are gone on with.
    subject
        Model and galaxies.
    params
        Methods, their values and the checks.

    Returns
    -------
    dict
        What `faithfulness.json` holds; see `galmorph.explain.faithfulness.record`.

    Raises
    ------
    InputError
        When no method that was asked for fits the model.
    """
    methods = explainers(subject.model, params)
    if not methods:
        raise InputError(
            f"explain.methods: none of them fits {subject.facts.architecture}. Grad-CAM needs a convolution, attention "
            f"rollout a transformer; occlusion fits every model. Received: {', '.join(params.methods)}"
        )
    galaxies = subject.galaxies.assign(target=subject.galaxies["predicted"])
    attributions = folder / "attributions"
    write_attributions(attributions, methods, galaxies, subject.prepared, params.batch_size)
    measured, record = _checked(attributions, subject, methods, params)
    shares = shares_table(measured)
    write_json(folder / FAITHFULNESS_FILE, record)
    write_table(folder / "on_galaxy.csv", shares)

    abouts = [AboutMethod.of(explainer) for explainer in methods.values()]
    layers, sheets = show_activations(folder / "activations", subject, params)
    shown = _shown(attributions, subject, methods, layers)
    write_bytes(folder / "sheet.png", png(sheet(shown, subject.facts.preprocess, params.picture)))
    told = numbers(shown, subject, methods, record, params)
    page = render(
        Model(subject.facts.experiment, subject.about, subject.facts.preprocess, subject.split, subject.scores),
        abouts,
        [Reported(galaxy, reasons(known)) for galaxy, known in zip(shown, told, strict=True)],
        Checked(record, shares),
        sheets,
        params,
    )
    write_text(folder / REPORT_FILE, page)
    return record


def _checked(
    attributions: Path, subject: Subject, methods: Mapping[str, Explainer], params: ExplainParams
) -> tuple[Measurements, dict[str, Any]]:
    """Score the methods on the galaxies that are there for it."""
    places = np.flatnonzero(subject.galaxies["checked"])
    rows = subject.galaxies.iloc[places]
    cataids = rows["CATAID"].tolist()

    def frames() -> Iterator[np.ndarray]:
        for cataid in cataids:
            yield subject.shown(cataid)

    galaxies = Galaxies(
        cataids, subject.prepared(cataids), frames(), rows["predicted"].tolist(), rows["blank_channel"].tolist()
    )
    measured = measure(
        methods,
        subject.model,
        galaxies,
        {name: read_attributions(attributions, name)[places] for name in methods},
        subject.facts.preprocess,
        params.faithfulness,
        params.seed,
        params.batch_size,
        lambda step: _log.info("checking explanations: %s", step),
    )
    record = faithfulness_record(measured, methods, subject.digest, subject.split, params.faithfulness, params.seed)
    return measured, record


def _shown(
    attributions: Path,
    subject: Subject,
    methods: Mapping[str, Explainer],
    layers: Mapping[str, tuple[Activation, ...]],
) -> list[Explained]:
    """Put each shown galaxy's answer and maps together; they come first in every table."""
    abouts = {name: AboutMethod.of(explainer) for name, explainer in methods.items()}
    maps = {name: read_attributions(attributions, name) for name in methods}
    facts = {name: read_facts(attributions, name).drop(columns="CATAID") for name in methods}

    def made(at: int, row: dict[str, Any]) -> Explained:
        of_methods = [
            MethodMap(abouts[name], np.array(maps[name][at]), _numbers(facts[name].iloc[at])) for name in methods
        ]
        return explained(row, subject.shown(row["CATAID"]), of_methods, layers.get(row["CATAID"], ()))

    return [
        made(at, {str(key): row[key] for key in row.index}) for at, (_, row) in enumerate(subject.to_show.iterrows())
    ]


def _numbers(row: "pd.Series[Any]") -> dict[str, float]:
    return {str(name): float(value) for name, value in row.items()}
