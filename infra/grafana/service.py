"""The dashboard of `galmorph serve`."""

from collections.abc import Mapping
from typing import Any

from infra.grafana.panels import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Panel,
    Row,
    at_time_of,
    bars,
    dashboard,
    distribution,
    good_from,
    good_until,
    lines,
    periods,
    stat,
)

_ROUTES = {"predictions": BLUE, "explanations": ORANGE}
#: As in the figures of galmorph.
_LABELS = {"Elliptical": VERMILLION, "Other": BLUE}
_QUANTITIES = {"brightness": ORANGE, "colour": PURPLE, "size": GREEN, "score": BLUE}


def service(limits: Mapping[str, float]) -> dict[str, Any]:
    """Return the dashboard; `limits` are those of the alerts, by name."""
    rows = [
        Row("Is it well?", _health(limits)),
        Row("Traffic", _traffic(limits)),
        Row("What is turned away", _refused(limits)),
        Row("Answers", _answers()),
        Row("Drift", _drift(limits)),
        Row("Explanations", _explanations()),
        Row("Model", _model()),
    ]
    return dashboard(
        "galmorph-service",
        "galmorph: the service",
        "What is asked of galmorph serve, what it answers, and whether the images are those it was tested on.",
        rows,
        annotations=[at_time_of("A model took over", "galmorph_model_loaded_timestamp_seconds", "A model took over")],
        other="Training",
        period="6h",
    )


def _health(limits: Mapping[str, float]) -> list[Panel]:
    return [
        stat(
            "Alerts",
            "Alerts of galmorph that fire now. The runbook (above) has a heading for each.",
            ('count(ALERTS{alertname=~"Galmorph.+", alertstate="firing"}) or vector(0)', "firing"),
            unit="short",
            steps=good_until(1),
        ),
        stat(
            "Replicas ready",
            "Processes that have a model to answer with. At 0 nobody is answered: GET /readyz says why.",
            ("sum(galmorph_ready)", "ready"),
            unit="short",
            steps=good_from(1),
            alert="GalmorphNotReady",
        ),
        stat(
            "Registry",
            "Whether every replica reached the registry when it asked last. Without it the model that is loaded goes "
            "on answering, and no other can take over.",
            ("min(galmorph_registry_up)", "registry"),
            unit="short",
            steps=good_from(1),
            words={0: "out of reach", 1: "reachable"},
            alert="GalmorphRegistryDown",
        ),
        stat(
            "Failed",
            "Share of the requests of the last 5 minutes that failed by the service's own fault: a status from 500 up, "
            "503 left out. Look in the log for ERROR.",
            ("galmorph:failed:ratio5m", "failed"),
            unit="percentunit",
            steps=good_until(limits["GalmorphFailing"]),
            alert="GalmorphFailing",
        ),
        stat(
            "Asked to wait",
            "Share of the requests of the last 5 minutes that were answered 503. Add replicas, or have clients send "
            "several images in a request.",
            ("galmorph:busy:ratio5m", "asked to wait"),
            unit="percentunit",
            steps=good_until(limits["GalmorphBusy"]),
            alert="GalmorphBusy",
        ),
        stat(
            "Slowest route, p99",
            "One request in a hundred takes longer. Compare it with batch size and queue below.",
            ("max(galmorph:request_seconds:p99_5m)", "p99"),
            unit="s",
            steps=good_until(limits["GalmorphSlow"]),
            alert="GalmorphSlow",
        ),
        stat(
            "Model",
            "The version that answers. Two of them for longer than serve.poll: a replica could not load the new one.",
            ("max by (model) (galmorph_model_info) == 1", "{{model}}"),
            unit="short",
            show="name",
            alert="GalmorphModelRefused",
        ),
        stat(
            "Age of the model",
            "Since it was registered. An old one has not seen what was labelled since.",
            ("max(galmorph:model_age:seconds)", "age"),
            unit="s",
            steps=good_until(limits["GalmorphModelOld"]),
            alert="GalmorphModelOld",
        ),
    ]


def _traffic(limits: Mapping[str, float]) -> list[Panel]:
    quantiles = {"p50": SKY, "p95": ORANGE, "p99": VERMILLION}
    return [
        lines(
            "Requests",
            "By route, probes and the page left out. A route that falls to nothing: look at its clients, and at the "
            "network in front of the service.",
            ("sum by (route) (galmorph:requests:rate5m)", "{{route}}"),
            unit="reqps",
            colours=_ROUTES,
            stacked=True,
        ),
        lines(
            "How long a request takes",
            "From its headers to the end of its answer; dashed: explanations. p99 grows and p50 does not: single large "
            "requests. Both grow: the processor is busy, add replicas.",
            *((f"galmorph:request_seconds:{name}_5m", f"{name} {{{{route}}}}") for name in quantiles),
            unit="s",
            colours=quantiles,
            dashed="explanations",
            limit=limits["GalmorphSlow"],
            alert="GalmorphSlow",
        ),
        lines(
            "Errors",
            "By status. 4xx is what clients sent, 503 the service asking for patience, any other 5xx its own fault.",
            ('sum by (code) (galmorph:requests:rate5m{code=~"[45].."})', "{{code}}"),
            unit="reqps",
            colours={"^4": SKY, "^5": VERMILLION, "503": ORANGE},
            width=8,
            alert="GalmorphFailing",
        ),
        lines(
            "Waiting and under way",
            "Images that wait for a batch, and requests that are not answered yet. A queue that stays near "
            "serve.batch.queue ends in 503.",
            ("sum(galmorph_queue_depth)", "images that wait"),
            ("sum(galmorph_in_flight_requests)", "requests under way"),
            unit="short",
            colours={"images": ORANGE, "requests": BLUE},
            width=8,
            alert="GalmorphBusy",
        ),
        lines(
            "Images answered together",
            "Mean size of a batch. At serve.batch.size the service works as fast as it can; near 1 it has time left.",
            ("galmorph:batch_size:mean5m", "images"),
            unit="short",
            colours={"images": BLUE},
            width=8,
        ),
    ]


def _refused(limits: Mapping[str, float]) -> list[Panel]:
    return [
        bars(
            "Turned away, by reason",
            "Requests and images in the time shown. docs/serving.md says what each reason means; most name what the "
            "sender has to change.",
            ("sort_desc(sum by (reason) (increase(galmorph_rejected_total[$__range])))", "{{reason}}"),
            unit="short",
        ),
        lines(
            "Images that cannot be read",
            "Share of the images of the last 15 minutes. Tell whoever sends them; a new survey or a new writer of FITS "
            "files shows here first.",
            ("galmorph:rejected:ratio15m", "not readable"),
            unit="percentunit",
            colours={"not": BLUE},
            most=1,
            limit=limits["GalmorphImagesRejected"],
            alert="GalmorphImagesRejected",
        ),
    ]


def _answers() -> list[Panel]:
    near = "sum(rate(galmorph_predictions_near_threshold_total[$__rate_interval]))"
    answered = "sum(rate(galmorph_predictions_total[$__rate_interval]))"
    return [
        lines(
            "Classes",
            "Images answered a second, by label. A label that is missing altogether: look at its share, and at drift.",
            ("sum by (label) (rate(galmorph_predictions_total[$__rate_interval]))", "{{label}}"),
            unit="cps",
            colours=_LABELS,
            stacked=True,
            width=8,
        ),
        lines(
            "Share of Elliptical",
            "Of the last hour's answers, by model. A jump with a new model is the model; without one it is the images: "
            "see drift.",
            ("galmorph:elliptical:ratio1h", "{{model}}"),
            unit="percentunit",
            colours={},
            most=1,
            width=8,
        ),
        lines(
            "Near the threshold",
            "Share of the answers that a person should look at. It grows when images come that the model knows little "
            "of.",
            (f"{near} / {answered}", "near the threshold"),
            unit="percentunit",
            colours={"near": PURPLE},
            most=1,
            width=8,
        ),
        distribution(
            "p_elliptical",
            "How sure the answers are. Two bright ends are sure answers; a bright middle is a model in doubt.",
            "galmorph_p_elliptical",
            unit="percentunit",
            width=24,
        ),
    ]


def _drift(limits: Mapping[str, float]) -> list[Panel]:
    return [
        lines(
            "Drift beyond chance",
            "Population stability index against the test galaxies, less what two samples of one population come to. "
            "Above the line the model's scores may not hold: see what is sent, and score the model on labelled "
            "galaxies of its kind.",
            ("max by (quantity) (galmorph:drift:excess)", "{{quantity}}"),
            unit="short",
            colours=_QUANTITIES,
            least=None,
            limit=limits["GalmorphDrift"],
            alert="GalmorphDrift",
        ),
        lines(
            "The index as it is",
            "Dashed: what it is on average without any drift.",
            ("max by (quantity) (galmorph_drift_psi)", "{{quantity}}"),
            ("max by (quantity) (galmorph_drift_psi_expected)", "{{quantity}} by chance"),
            unit="short",
            colours=_QUANTITIES,
            dashed="by chance",
            width=8,
            alert="GalmorphDrift",
        ),
        stat(
            "Images compared",
            "Of the replica that has the fewest. Below serve.drift.min_images nothing is compared, and a new model "
            "begins at 0.",
            ("min(galmorph_drift_images)", "images"),
            unit="short",
            width=4,
        ),
    ]


def _explanations() -> list[Panel]:
    maps = "sum(rate(galmorph_heat_maps_empty_total[$__rate_interval]))"
    drawn = "sum(rate(galmorph_heat_map_galaxy_share_count[$__rate_interval]))"
    return [
        lines(
            "Heat maps on the galaxy",
            "Mean share of a map that lies on the galaxy itself, over an hour. If it falls, the model looks at "
            "neighbours or sky: look at some maps, and at the drift above, before you trust its classes.",
            ("galmorph:heat_map_galaxy_share:mean1h", "on the galaxy"),
            unit="percentunit",
            colours={"galaxy": GREEN},
            most=1,
        ),
        lines(
            "Empty heat maps",
            "Share of the maps with nothing that speaks for the class. About a quarter is usual; more of them: all "
            "evidence is against the other class.",
            (f"{maps} / ({maps} + {drawn})", "empty"),
            unit="percentunit",
            colours={"empty": ORANGE},
            most=1,
        ),
    ]


def _model() -> list[Panel]:
    return [
        periods(
            "Which model answered",
            "A version each line. Overlapping for longer than serve.poll: a replica could not load the new one.",
            ("max by (model) (galmorph_model_info)", "{{model}}"),
            {0: "no longer", 1: "answers"},
        ),
        stat(
            "Models that could not be loaded",
            "In the time shown. The last good model answers meanwhile; register the version again, or roll back.",
            ("sum(increase(galmorph_model_load_failures_total[$__range]))", "could not be loaded"),
            unit="short",
            steps=good_until(1),
            width=6,
            alert="GalmorphModelRefused",
        ),
        stat(
            "Since it took over",
            "How long the model that answers has been loaded. Short again and again: the replica is restarted; see its "
            "log and its memory.",
            ("time() - max(galmorph_model_loaded_timestamp_seconds)", "since it took over"),
            unit="s",
            width=6,
        ),
    ]
