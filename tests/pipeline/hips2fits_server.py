"""A cutout service on this machine that speaks the protocol of hips2fits, faults included.

`python tests/pipeline/hips2fits_server.py` serves until it is stopped and prints its address, for trying things out.
"""

import contextlib
import io
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

#: Of each survey: brightness relative to i, sky noise and sky level, in nanomaggies, and its unit in nanomaggies.
SURVEYS = {
    "CDS/P/SDSS9/g": (0.35, 0.02, 0.0, 1.0),
    "CDS/P/SDSS9/i": (1.0, 0.04, 0.0, 1.0),
    "CDS/P/VISTA/VIKING/H": (1.8, 0.09, 20.0, 1 / 250),
}


@dataclass
class Request:
    """One request as it came in, and what became of it."""

    query: dict[str, str]
    agent: str
    arrived: float
    fault: str | None = None
    answered: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.query["hips"], self.query["ra"], self.query["dec"]


@dataclass
class Fault:
    """What to do to matching requests: `times` of them, or all when it is None."""

    kind: str
    survey: str | None = None
    ra: float | None = None
    times: int | None = None
    retry_after: str = "1"

    def takes(self, query: dict[str, str]) -> bool:
        if self.times == 0 or self.survey not in (None, query["hips"]):
            return False
        if self.ra is not None and abs(float(query["ra"]) - self.ra) > 1e-6:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Hips2FitsServer:
    """The service; use it as a context manager.

    Attributes
    ----------
    delay
        Seconds that each answer takes.
    faults
        Tried in order; the first that takes a request decides its answer. Kinds: `400`, `404`, `429`, `500`,
        `truncated`, `unannounced` (cut off, and no Content-Length to tell), `timeout`, `drip`, `html`, `nan`, `zeros`,
        `empty` (a header alone), `shape`, `huge`, `closed`.
    requests
        Everything that was asked, in order.
    high_water
        The most requests that were ever open at one time.
    """

    delay: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    high_water: int = 0

    def __post_init__(self) -> None:
        self._open = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.service = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hips-image-services/hips2fits"

    def fail(self, kind: str, **which: object) -> None:
        self.faults.append(Fault(kind, **which))

    def asked(self) -> list[tuple[str, str, str]]:
        with self._lock:
            return [request.key for request in self.requests]

    def __enter__(self) -> "Hips2FitsServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def admitted(self, query: dict[str, str], agent: str) -> Iterator[Request]:
        with self._lock:
            self._open += 1
            self.high_water = max(self.high_water, self._open)
            request = Request(query, agent, time.monotonic())
            self.requests.append(request)
            fault = next((fault for fault in self.faults if fault.takes(query)), None)
            request.fault = fault.kind if fault else None
        try:
            yield request
        finally:
            with self._lock:
                self._open -= 1

    def retry_after(self) -> str:
        return next(fault.retry_after for fault in self.faults if fault.kind in ("429", "500"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # `server_close` would wait for the connections that clients keep open.
    block_on_close = False
    service: Hips2FitsServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed, or that gave up, is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        service = self.server.service
        # The last byte goes out after the request was counted off: what the client sends next comes after it.
        with service.admitted(query, self.headers["User-Agent"]) as request:
            time.sleep(service.delay)
            answer = self._prepare(request)
        request.answered = True
        answer()

    def _prepare(self, request: Request):
        query, fault = request.query, request.fault
        size = int(query["width"])
        if fault in ("429", "500"):
            return lambda: self._send(int(fault), b"busy", {"Retry-After": self.server.service.retry_after()})
        if fault in ("400", "404") or query["hips"] not in SURVEYS:
            body = b'{"title": "Bad request", "description": "Unknown HiPS"}'
            return lambda: self._send(int(fault or 400), body, {"Content-Type": "application/json"})
        if fault == "html":
            return lambda: self._send(
                200, b"<html><body>Service unavailable</body></html>", {"Content-Type": "text/html"}
            )
        if fault == "closed":
            self.close_connection = True
            return lambda: None
        if fault == "timeout":
            self.connection.recv(1)  # returns when the client hangs up
            self.close_connection = True
            return lambda: None
        if fault == "empty":
            return lambda: self._send(200, fits.PrimaryHDU().header.tostring().encode())
        if fault == "huge":
            return lambda: self._send(200, bytes(size * size * 8 + 2**20))
        image = render(query["hips"], float(query["ra"]), float(query["dec"]), size, float(query["fov"]))
        if fault in ("nan", "zeros"):
            image[:] = np.nan if fault == "nan" else 0
        if fault == "shape":
            image = image[:-1]
        body = as_fits(image, query)
        if fault == "truncated":
            return lambda: self._send(200, body[: len(body) // 2], {"Content-Length": str(len(body))}, close=True)
        if fault == "unannounced":
            return lambda: self._send(200, body[: len(body) // 2], {"Content-Length": None}, close=True)
        if fault == "drip":
            return lambda: self._drip(body)
        return lambda: self._send(200, body)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str | None] | None = None, close: bool = False
    ) -> None:
        self.send_response(status)
        fields = {"Content-Type": "application/fits", "Content-Length": str(len(body)), **(headers or {})}
        if close:
            self.close_connection = True
            fields["Connection"] = "close"
        for name, value in fields.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, body: bytes) -> None:
        """Send a kilobyte at a time, each soon enough that no single read times out."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        for start in range(0, len(body), 1024):
            self.wfile.write(body[start : start + 1024])
            time.sleep(0.1)


def render(survey: str, ra: float, dec: float, size: int, fov: float) -> np.ndarray:
    """Draw a galaxy at the centre, `(size, size)` float32: elliptical where dec is positive, else a spiral.

    A star stands 8″ north and 6″ east of it, and one that is blue 10″ south-west.
    """
    brightness, noise, level, unit = SURVEYS[survey]
    y, x = (np.indices((size, size)) - (size - 1) / 2) * (fov * 3600 / size)  # arcsec; y north, x west
    rng = np.random.default_rng(zlib.crc32(f"{ra:.6f} {dec:.6f}".encode()))
    angle, ratio, radius = rng.uniform(0, np.pi), rng.uniform(0.5, 0.95), rng.uniform(2.5, 5)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    r = np.hypot(along, across / ratio)
    if dec > 0:
        galaxy = 12 * np.exp(-5.3 * (np.hypot(r, 0.3) / radius) ** 0.35)
        galaxy *= 20
    else:
        arms = 1 + 0.8 * np.cos(2 * (np.arctan2(across / ratio, along) - np.log(r + 0.3) / np.tan(np.radians(20))))
        # Arms are blue: least of them in H.
        galaxy = 0.9 * np.exp(-r / radius) * (1 + (arms - 1) / np.sqrt(brightness * 1.5)) + 2.5 * np.exp(-r / 0.8)
    stars = 8 * np.exp(-((x + 6) ** 2 + (y - 8) ** 2) / 0.5)
    stars += 6 * np.exp(-((x - 7) ** 2 + (y + 7) ** 2) / 0.5) * (0.35 / brightness) ** 2
    sky = np.random.default_rng(zlib.crc32(f"{survey} {ra:.6f} {dec:.6f}".encode())).normal(0, noise, r.shape)
    return ((brightness * (galaxy + stars) + sky + level) / unit).astype(np.float32)


def as_fits(image: np.ndarray, query: dict[str, str]) -> bytes:
    """Wrap an image as the service does: a primary array, 32-bit float, with its place on the sky."""
    scale = float(query["fov"]) / int(query["width"])
    wcs = WCS(naxis=2)
    wcs.wcs.crval = float(query["ra"]), float(query["dec"])
    wcs.wcs.crpix = (int(query["width"]) + 1) / 2, (int(query["height"]) + 1) / 2
    wcs.wcs.cdelt = -scale, scale
    wcs.wcs.ctype = f"RA---{query['projection']}", f"DEC--{query['projection']}"
    content = io.BytesIO()
    fits.PrimaryHDU(image, wcs.to_header()).writeto(content)
    return content.getvalue()


if __name__ == "__main__":
    with Hips2FitsServer() as running:
        print(running.url, flush=True)
        threading.Event().wait()
