"""What a request's body may cost: bytes and time. Counted as it arrives, whatever its headers promise."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from galmorph.params import LimitParams
from galmorph.serving.refusals import RefusedError


class Body:
    """A request's body as the application receives it, within its limits.

    Attributes
    ----------
    received
        Bytes so far.
    whole
        Whether all of it has come.
    """

    def __init__(self, receive: Receive, limits: LimitParams) -> None:
        self._receive, self._limits = receive, limits
        self._until = asyncio.get_running_loop().time() + limits.body_seconds
        self.received, self.whole = 0, False

    def check_announced(self, headers: Headers) -> None:
        """Refuse a body whose announced length is over the limit, before any of it is read.

        Raises
        ------
        RefusedError
            When it is.
        """
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > self._limits.body:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next message of the connection.

        Raises
        ------
        RefusedError
            When the body is too large, or takes too long to come.
        """
        if self.whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            raise RefusedError(
                "slow_request", f"The request must be sent within {self._limits.body_seconds:g} seconds."
            ) from error
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.received > self._limits.body:
                raise self._too_large()
        else:
            self.whole = True
        return message

    async def drain(self) -> None:
        """Read on and forget, so that a client that is still sending gets to see the answer; within the limits."""
        try:
            while not self.whole:
                await self.receive()
        except RefusedError:
            return

    def _too_large(self) -> RefusedError:
        return RefusedError("body_too_large", f"A request may have {self._limits.body:,} bytes. Send fewer images.")
