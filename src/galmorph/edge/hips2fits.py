"""A client of the CDS hips2fits service: polite, patient, and sure of what it received.

`astroquery.hips2fits` is not used for this. Its answer to anything but a 200 is `response.json()["title"]`, which
loses the status and `Retry-After` (and fails on an HTML error page); every request switches a process-wide cache
setting off and on, which threads do to each other; and its time-out is per read, so that a server that drips keeps a
thread for ever.
"""

import random
import threading
import time
from email.utils import parsedate_to_datetime

import requests

from galmorph import __version__
from galmorph.data.bands import decode_band
from galmorph.errors import DownloadError, ImageError
from galmorph.params import CutoutsParams

_CHUNK = 1 << 16
#: Bytes beyond the pixels that a FITS file may have: headers, padding, a small extension.
_OVERHEAD = 1 << 18


class NoCutoutError(Exception):
    """One band of one galaxy was not to be had; the message says why, for the catalogue."""


class _TransientError(Exception):
    """One attempt failed; another may not. `retry_after` is what the server asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class Hips2Fits:
    """Fetches bands for several threads at once; what the server asks of one thread holds for all.

    Parameters
    ----------
    params
        `service`, `size`, `pixel_scale`, `timeout`, `retries`, `backoff`, `max_wait` and `give_up_after` are used.
    """

    def __init__(self, params: CutoutsParams):
        self._params = params
        self._local = threading.local()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._reason = ""
        self._held_until = 0.0
        self._misses = 0
        # SystemRandom keeps no state, so threads may share it; jitter need not repeat.
        self._random = random.SystemRandom()

    def fetch(self, survey: str, ra: str, dec: str) -> bytes:
        """Fetch one band, trying again after failures that may pass.

        Parameters
        ----------
        survey
            Identifier of a HiPS, such as `CDS/P/SDSS9/g`.
        ra, dec
            Centre in degrees (ICRS), as decimal text.

        Returns
        -------
        bytes
            A FITS file that `decode_band` can read.

        Raises
        ------
        NoCutoutError
            When the server refused, or every attempt failed.
        DownloadError
            When this client was stopped, or the server asks for a longer wait than `max_wait`.
        """
        query = self._query(survey, ra, dec)
        attempts = self._params.retries + 1
        for attempt in range(attempts):
            self._wait(attempt)
            try:
                return self._attempt(query)
            except _TransientError as error:
                problem = error
                self._hold(error)
        raise NoCutoutError(f"{survey}: {problem} ({attempts} attempt{'s' if attempts > 1 else ''})") from problem

    def succeeded(self) -> None:
        """Note that a galaxy was fetched: the service is there."""
        with self._lock:
            self._misses = 0

    def failed(self, reason: str) -> None:
        """Note that a galaxy could not be fetched.

        Raises
        ------
        DownloadError
            When that makes `give_up_after` galaxies in a row.
        """
        with self._lock:
            self._misses += 1
            misses = self._misses
        if misses >= self._params.give_up_after:
            self.stop(
                f"{self._params.service}: {misses} galaxies in a row could not be fetched, so the service is taken to "
                "be down or the request to be wrong. Check the network, acquire.cutouts.service and surveys, and run "
                f"the same command again: what was fetched is kept. Received: {reason}"
            )
            self._check_stopped()

    def stop(self, reason: str) -> None:
        """Make every thread leave at its next wait, with a `DownloadError` of this reason (the first one given)."""
        with self._lock:
            self._reason = self._reason or reason
        self._stopped.set()

    def _query(self, survey: str, ra: str, dec: str) -> dict[str, str]:
        size = self._params.size
        return {
            "hips": survey,
            "ra": ra,
            "dec": dec,
            "fov": repr(size * self._params.pixel_scale / 3600),
            "width": str(size),
            "height": str(size),
            "projection": "TAN",
            "coordsys": "icrs",
            "rotation_angle": "0.0",
            "format": "fits",
        }

    def _attempt(self, query: dict[str, str]) -> bytes:
        try:
            body = self._get(query)
            decode_band(body, self._params.size)
        except ImageError as error:
            raise _TransientError(str(error)) from error
        except requests.Timeout as error:
            raise _TransientError(f"no answer within {self._params.timeout:g} s") from error
        except (
            requests.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
        ) as error:
            raise _TransientError(f"connection failed: {_root(error)}") from error
        except requests.RequestException as error:
            raise NoCutoutError(f"{query['hips']}: {error}") from error
        return body

    def _get(self, query: dict[str, str]) -> bytes:
        """Send one request, and read no more and no longer than a cutout can take."""
        limit = self._params.size**2 * 8 + _OVERHEAD
        deadline = time.monotonic() + self._params.timeout
        with self._session().get(
            self._params.service, params=query, timeout=self._params.timeout, stream=True
        ) as answer:
            if answer.status_code == 429 or answer.status_code >= 500:
                raise _TransientError(f"HTTP {answer.status_code} {answer.reason}", _retry_after(answer))
            body = bytearray()
            for chunk in answer.iter_content(_CHUNK):
                body += chunk
                if len(body) > limit:
                    raise _TransientError(f"the answer is longer than {limit} bytes")
                if time.monotonic() > deadline:
                    raise requests.Timeout
            if answer.status_code != 200:
                words = " ".join(bytes(body[:200]).decode(errors="replace").split())
                raise NoCutoutError(f"{query['hips']}: HTTP {answer.status_code} {answer.reason}: {words}")
        return bytes(body)

    def _session(self) -> requests.Session:
        # A session keeps its connection open between requests; it is not made for several threads.
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["User-Agent"] = f"galmorph/{__version__}"
        session: requests.Session = self._local.session
        return session

    def _hold(self, error: _TransientError) -> None:
        """Keep all threads from asking before the time the server named."""
        if error.retry_after is None:
            return
        if error.retry_after > self._params.max_wait:
            self.stop(
                f"{self._params.service}: asks to come back in {error.retry_after:.0f} s, longer than "
                f"acquire.cutouts.max_wait ({self._params.max_wait:g} s). Run the same command again then: what was "
                f"fetched is kept. Received: {error}"
            )
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + error.retry_after)

    def _wait(self, attempt: int) -> None:
        """Wait before an attempt: doubling from `backoff` with jitter, and until the server's own time is over."""
        if attempt:
            delay = min(self._params.backoff * 2 ** (attempt - 1), self._params.max_wait)
            self._stopped.wait(delay * self._random.uniform(0.5, 1.0))
        while not self._stopped.is_set() and (left := self._held_until - time.monotonic()) > 0:
            # Threads that were held together do not come back together.
            self._stopped.wait(left + self._random.uniform(0, self._params.backoff / 4))
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise DownloadError(self._reason)


def _retry_after(answer: requests.Response) -> float | None:
    """Read `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _root(error: BaseException) -> str:
    """Name what lies at the bottom of requests' nested messages, such as `ConnectionRefusedError: ...`."""
    seen = {id(error)}
    while (inner := error.__cause__ or error.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    return f"{type(error).__name__}: {error}"
