"""The process around the application: uvicorn, its sockets and workers, and a graceful end."""

import asyncio
import json
import logging
import os
import tempfile
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import disable_created_metrics
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from galmorph.params import ServiceParams
from galmorph.serving.app import create_app
from galmorph.serving.keys import read_keys
from galmorph.serving.logs import write_json_lines
from galmorph.serving.monitoring import SHARED

log = logging.getLogger(__name__)

#: How a worker process gets its parameters from the one that starts it.
_PARAMS = "GALMORPH_SERVE"


class ImpatientProtocol(H11Protocol):
    """HTTP that closes a connection whose client keeps it waiting, where uvicorn itself would wait for ever.

    Attributes
    ----------
    patience
        Seconds for the headers of a request; set once for the process.
    send_patience
        Seconds for a client to take what was sent; set once for the process.
    """

    patience: float = float("inf")
    send_patience: float = float("inf")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        # So that writing is paused by whatever a client leaves: also by little, for which a close would wait as well.
        transport.set_write_buffer_limits(high=0)
        self._giving_up: asyncio.TimerHandle | None = None
        self._expect_another_than(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what was sent."""
        super().pause_writing()
        self._giving_up = self.loop.call_later(self.send_patience, self._give_up)

    def resume_writing(self) -> None:
        """Go on: the client has taken all of it."""
        self._wait_no_longer()
        super().resume_writing()

    def _give_up(self) -> None:
        log.info("a client did not take its answer in time", extra={"client": (self.client or ("",))[0]})
        # A close would send the rest first.
        self.transport.abort()

    def _wait_no_longer(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        answered = self.cycle
        super().on_response_complete()
        self._expect_another_than(answered)

    def _expect_another_than(self, answered: object) -> None:
        def check() -> None:
            # `cycle` is a request whose headers are complete.
            if self.cycle is answered and not self.transport.is_closing():
                self.transport.close()

        self.loop.call_later(self.patience, check)


def app() -> FastAPI:
    """Build the application from what `serve` left in the environment; every worker process calls it."""
    params = ServiceParams.model_validate(json.loads(os.environ[_PARAMS]))
    ImpatientProtocol.patience = params.serve.limits.header_seconds
    ImpatientProtocol.send_patience = params.serve.limits.send_seconds
    write_json_lines()
    # A second series for each counter, that nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return create_app(params, None if params.serve.keys is None else read_keys(Path(params.serve.keys).expanduser()))


def serve(params: ServiceParams) -> None:
    """Serve until told to stop (SIGTERM or SIGINT); requests under way are answered first.

    Parameters
    ----------
    params
        What to serve, where, and how many processes. With several, one that dies is replaced, and connections wait
        for it in the socket that they share.

    Raises
    ------
    InputError
        When the key file cannot be used.
    """
    if params.serve.keys is not None:
        read_keys(Path(params.serve.keys).expanduser())  # before any process is started
    os.environ[_PARAMS] = params.model_dump_json()
    if params.serve.workers == 1:
        _run(_config(params))
        return
    with tempfile.TemporaryDirectory(prefix="galmorph-metrics-") as shared:
        os.environ[SHARED] = shared
        config = _config(params)
        write_json_lines()
        Multiprocess(config, sockets=[config.bind_socket()]).run()


def _run(config: uvicorn.Config) -> None:
    # uvicorn ends well, and then raises the signal that ended it once more.
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        return


def _config(params: ServiceParams) -> uvicorn.Config:
    return uvicorn.Config(
        "galmorph.serving.server:app",
        factory=True,
        http=ImpatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # the shell writes a line for each request
        server_header=False,
        proxy_headers=False,
        host=params.serve.host,
        port=params.serve.port,
        workers=params.serve.workers,
        timeout_graceful_shutdown=params.serve.limits.stop_seconds,
    )
