"""What lies around every request: its id, its log line, its metrics, security headers, keys, limits, and errors.

It is plain ASGI, so that the limits hold while a body is received, before anything has parsed it.
"""

import logging
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from galmorph.params import LimitParams
from galmorph.serving.keys import Keys
from galmorph.serving.limits import Body
from galmorph.serving.logs import request_id
from galmorph.serving.monitoring import Monitor
from galmorph.serving.refusals import RefusedError

log = logging.getLogger("galmorph.serving")

_PROBES = ("/healthz", "/readyz", "/metrics")
#: Requests for answers: those that need a key, and that are limited in number.
_WORK = "/v1/"
_GIVEN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: By custom, in logs and metrics; nobody gets to see it.
_CLIENT_LEFT = 499
#: Of every answer. Pages load what this server has, and nothing else; nobody may frame them.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Shell:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, limits: LimitParams, monitor: Monitor, keys: Keys | None) -> None:
        self._app, self._limits, self._monitor, self._keys = app, limits, monitor, keys
        self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass on what is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id.set(given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex)
        body = Body(receive, self._limits)
        response = _Response(send)
        began = time.perf_counter()
        with self._monitor.in_flight.track_inprogress():
            try:
                await self._serve(scope, headers, body, response)
            except ClientDisconnect:
                response.status = _CLIENT_LEFT
            except Exception:  # the last resort: counted, logged whole, and the client told no more than the id
                self._monitor.errors.inc()
                log.exception("the request failed by our own fault")
                if not response.begun:
                    error = RefusedError("internal", "The service failed. Its log has the request's id.")
                    await _problem(error, self._limits)(scope, receive, response)
        self._note(scope, body, response, time.perf_counter() - began)

    async def _serve(self, scope: Scope, headers: Headers, body: Body, response: "_Response") -> None:
        try:
            with self._admitted(scope, headers, body):
                await self._app(scope, body.receive, response)
        except RefusedError as refused:
            if not refused.counted:
                self._monitor.rejected.labels(refused.reason).inc()
            await body.drain()
            if not response.begun:
                await _problem(refused, self._limits)(scope, body.receive, response)

    @contextmanager
    def _admitted(self, scope: Scope, headers: Headers, body: Body) -> Iterator[None]:
        """Check what can be checked before the body is read, and count the request while it is worked on."""
        if not scope["path"].startswith(_WORK):
            yield
            return
        self._check_key(scope, headers)
        body.check_announced(headers)
        if self._working >= self._limits.requests:
            raise RefusedError("busy", f"{self._limits.requests} requests are being answered. Come back shortly.")
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if self._keys is None:
            return
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = headers.get("x-api-key", bearer.strip() if scheme.lower() == "bearer" else "")
        owner = self._keys.owner(key)
        if owner is None:
            raise RefusedError("no_key", "This service wants an API key, as X-API-Key or Authorization: Bearer.")
        scope.setdefault("state", {})["owner"] = owner

    def _note(self, scope: Scope, body: Body, response: "_Response", seconds: float) -> None:
        # By the route's template: paths are of any number, and hold whatever a client put there.
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._monitor.seconds.labels(route, method, str(response.status)).observe(seconds)
        # Probes come every few seconds, and say something only when they fail.
        probe = route in _PROBES and response.status < 400
        log.log(
            logging.DEBUG if probe else logging.INFO,
            "%s %s %d", method, route, response.status,
            extra={
                "method": method, "route": route, "path": scope["path"][:200], "status": response.status,
                "seconds": round(seconds, 4), "bytes_in": body.received,
                "client": (scope.get("client") or ("",))[0], **scope.get("state", {}).get("facts", {}),
                **({"owner": scope["state"]["owner"]} if "owner" in scope.get("state", {}) else {}),
            },
        )  # fmt: skip


class _Response:
    """Passes a response on, with the headers that every one has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun, self.status = False, 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = request_id.get()
        await self._send(message)


def _problem(refused: RefusedError, limits: LimitParams) -> JSONResponse:
    """Make the response of a refusal; `galmorph.serving.contract.Problem` is its shape."""
    headers = dict(refused.headers or {})
    if refused.status_code == 503:
        headers["Retry-After"] = str(limits.retry_seconds)
    if refused.status_code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    error = {"reason": refused.reason, "message": refused.detail}
    return JSONResponse({"error": error, "request_id": request_id.get()}, refused.status_code, headers)
