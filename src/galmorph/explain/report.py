"""The explanation report: one HTML file, with everything in it."""

import base64
import io
from typing import Any

import jinja2
from matplotlib.figure import Figure


def png(figure: Figure, dots_per_inch: int = 110) -> bytes:
    """Draw a figure as PNG."""
    drawn = io.BytesIO()
    # No software or date in the file: equal content makes equal bytes.
    figure.savefig(drawn, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return drawn.getvalue()


def data_url(image: bytes) -> str:
    """Make a PNG part of a page."""
    return "data:image/png;base64," + base64.b64encode(image).decode()


def render(facts: dict[str, Any], scores: dict[str, Any], galaxies: list[dict[str, Any]]) -> str:
    """Write the page.

    Parameters
    ----------
    facts
        Of the model: `experiment`, `architecture`, `variant`, `data_digest`, `image_size`, `crop`, `method`,
        `layer`, `colour_map`, `alpha`, `split`.
    scores
        The scored split's metrics, each with `value`, `low` and `high`.
    galaxies
        `cataid`, `label`, `predicted`, `p_elliptical`, `right`, `empty`, `kind` and `picture` (a data URL) of each.

    Returns
    -------
    str
        HTML that needs no network.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("galmorph.explain"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    # In the order of the sample, which puts what went wrong first; jinja's own groupby would sort by name.
    kinds = list(dict.fromkeys(galaxy["kind"] for galaxy in galaxies))
    groups = [(kind, [galaxy for galaxy in galaxies if galaxy["kind"] == kind]) for kind in kinds]
    return environment.get_template("report.html").render(facts=facts, scores=scores, groups=groups)
