"""The routes of the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, File, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from galmorph import __version__
from galmorph.params import Label, ServiceParams
from galmorph.serving import contract
from galmorph.serving.intake import media_type, shown_name
from galmorph.serving.keys import Keys
from galmorph.serving.logs import request_id
from galmorph.serving.monitoring import Monitor, forget_the_dead
from galmorph.serving.presenting import model_of
from galmorph.serving.refusals import STATUS, Reason, RefusedError
from galmorph.serving.service import Service
from galmorph.serving.shell import Shell

#: The page's files, and what they are.
_PAGE = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: The explanation report is one file with its styles and pictures in it, and nothing that runs.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
_DESCRIPTION = (
    "Elliptical or Other, from galaxy cutouts: calibrated probabilities, each with its explanation, its data version "
    "and its model version. A request that is refused says why, in words and as a `reason` to count by."
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "model": contract.Problem,
        "description": ", ".join(reason for reason in STATUS if STATUS[reason] == status) or "bad_request",
    }
    for status in sorted({*STATUS.values()} - {404, 500})
}
Denoised = Annotated[
    bool, Query(description="Whether the images went through the denoiser of the model's variant already.")
]


def create_app(params: ServiceParams, keys: Keys | None) -> FastAPI:
    """Build the service.

    Parameters
    ----------
    params
        What it does.
    keys
        Who may ask; None: everyone.

    Returns
    -------
    fastapi.FastAPI
        `state.service` is the `Service`, once it has started.
    """
    monitor = Monitor()

    @asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[None]:
        forget_the_dead()
        started.state.service = Service(params, monitor)
        started.state.service.start()
        yield
        await started.state.service.stop()

    app = FastAPI(
        title="galmorph",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its scripts come from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Shell, limits=params.serve.limits, monitor=monitor, keys=keys)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    _add_answers(app)
    _add_state(app, monitor)
    _add_pages(app)
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    """Leave refusals to the shell, which has the last word."""
    assert isinstance(error, HTTPException)
    if isinstance(error, RefusedError):
        raise error
    reason: Reason = "not_found" if error.status_code in (404, 405) else "bad_request"
    raise RefusedError(reason, str(error.detail), error.status_code, error.headers)


async def _refuse_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
    raise RefusedError("bad_request", f"The request is not as /openapi.json describes it. {wrong}", 422)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _add_answers(app: FastAPI) -> None:
    @app.post("/v1/predictions", responses=_PROBLEMS)
    async def predictions(
        request: Request,
        images: Annotated[list[UploadFile], File(description="PNG, JPEG or FITS cutouts, one or many.")],
        denoised: Denoised = False,
    ) -> contract.Predictions:
        """Classify cutouts. One that cannot be read has an error in its place; if none can, the request has it."""
        service = _service(request)
        most = service.params.serve.limits.images
        if len(images) > most:
            raise RefusedError("too_many_images", f"A request may have {most} images. Received: {len(images)}")
        uploads = [(shown_name(image.filename, number), image) for number, image in enumerate(images, 1)]
        champion, found = await service.predict(uploads, denoised)
        _note(request, images=len(images), model=champion.runtime.facts.name)
        return contract.Predictions(model=model_of(champion), predictions=found, request_id=request_id.get())

    @app.post(
        "/v1/explanations",
        response_model=contract.Explanation,
        responses={
            **_PROBLEMS,
            200: {"content": {"image/png": {}}, "description": "JSON, or the overlay where PNG is accepted."},
        },
    )
    async def explanations(
        request: Request,
        image: Annotated[UploadFile, File(description="A PNG, JPEG or FITS cutout.")],
        label: Annotated[Label | None, Query(description="Which the heat map is for; else the answer's.")] = None,
        denoised: Denoised = False,
    ) -> Any:
        """Classify a cutout and say why. Send `Accept: image/png` for the picture instead of JSON."""
        explained = await _service(request).explain(shown_name(image.filename, 1), image, label, denoised)
        _note(request, images=1, model=explained.explanation.model.name)
        if _wants_png(request.headers.get("accept", "")):
            return Response(explained.picture, media_type="image/png", headers={"Vary": "Accept"})
        return explained.explanation

    @app.get("/v1/model", responses={status: _PROBLEMS[status] for status in (401, 503)})
    async def model(request: Request) -> contract.ModelDetails:
        """Say which model answers, what it learned from, and what there is to see of it."""
        service = _service(request)
        champion = service.champion()
        facts = champion.runtime.facts
        named = {name: getattr(facts, name) for name in contract.ModelDetails.model_fields if hasattr(facts, name)}
        return contract.ModelDetails(
            **named,
            since=datetime.fromtimestamp(champion.since, UTC).isoformat(timespec="seconds"),
            precision=champion.runtime.precision,
            image_size=facts.preprocess.image_size,
            crop=facts.preprocess.crop,
            accuracy=champion.accuracy,
            report=None if champion.report is None else "/report",
            card=champion.card,
            examples=[example.name for example in champion.examples],
            problem=service.watch.problem,
        )


def _add_state(app: FastAPI, monitor: Monitor) -> None:
    @app.get("/healthz")
    async def healthz() -> contract.State:
        """Say that the service lives, whether it has a model or not."""
        return contract.State(status="ok", message="")

    @app.get("/readyz", responses={503: {"model": contract.State, "description": "There is no model yet."}})
    async def readyz(request: Request, response: Response) -> contract.State:
        """Say whether there is a model to answer with, and why not."""
        watch = _service(request).watch
        if watch.current is None:
            response.status_code = 503
            return contract.State(status="not ready", message=watch.problem)
        return contract.State(status="ready", message=watch.problem)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Return the metrics, in Prometheus's text format."""
        return Response(monitor.exposition(), headers={"Content-Type": _METRICS_TYPE})


def _add_pages(app: FastAPI) -> None:
    folder = resources.files("galmorph.serving") / "page"
    files = {name: (folder / name).read_bytes() for name in _PAGE}

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return _file(files["index.html"], _PAGE["index.html"])

    @app.get("/page/{name}", include_in_schema=False)
    async def page(name: str) -> Response:
        # A name is looked up among those read at the start; no path is made of it.
        if name not in files:
            raise RefusedError("not_found", "There is no such file.")
        return _file(files[name], _PAGE[name])

    @app.get("/report", include_in_schema=False)
    async def report(request: Request) -> Response:
        content = _service(request).champion().report
        if content is None:
            raise RefusedError("not_found", "The model came without an explanation report.")
        return Response(
            content, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _REPORT_POLICY}
        )

    @app.get("/examples/{number}", include_in_schema=False)
    async def example(request: Request, number: int) -> Response:
        examples = _service(request).champion().examples
        if not 0 <= number < len(examples):
            raise RefusedError("not_found", f"There are {len(examples)} examples, from 0.")
        content = examples[number].content
        return Response(content, media_type=media_type(content))


def _file(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})


def _note(request: Request, **facts: object) -> None:
    """Add facts to the request's log line."""
    request.scope.setdefault("state", {})["facts"] = facts


def _wants_png(accept: str) -> bool:
    """Whether a PNG is accepted and JSON is not named before it."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "image/png" in kinds and "application/json" not in kinds[: kinds.index("image/png")]
