"""Connections whose client keeps the server waiting."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn
from uvicorn.server import ServerState

from galmorph.serving.server import ImpatientProtocol


async def app(scope, receive, send):
    """Answer as many bytes as the path says."""
    body = b"x" * int(scope["path"][1:])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def asked(size, *, read, seconds):
    """Ask for an answer, and read it or not; return what came, and whether the server let go within so many seconds."""
    loop, state = asyncio.get_running_loop(), ServerState()
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_keep_alive=0)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        # Connections inherit it: the kernel keeps little of what is sent.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server = await loop.create_server(lambda: ImpatientProtocol(config, state, {}), sock=listening)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, listening.getsockname())
        await loop.sock_sendall(client, b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
        came = 0
        while read and (part := await loop.sock_recv(client, 4096)):
            came += len(part)
        await asyncio.sleep(0.1)  # the request arrives
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while state.connections:
                    await asyncio.sleep(0.02)
        let_go = not state.connections
        server.close()
    return came, let_go


@pytest.fixture
def patience(monkeypatch):
    """Set how long clients may take."""
    return lambda seconds: monkeypatch.setattr(ImpatientProtocol, "send_patience", seconds)


# Both are more than kernels keep; asyncio by itself pauses for the second only.
@pytest.mark.parametrize("size", [40_000, 4_000_000])
def test_a_client_that_does_not_take_its_answer_is_let_go(patience, size):
    patience(float("inf"))
    assert not asyncio.run(asked(size, read=False, seconds=0.3))[1]
    patience(0.1)
    assert asyncio.run(asked(size, read=False, seconds=20))[1]


def test_an_answer_that_is_taken_bit_by_bit_comes_whole(patience):
    patience(20)
    came, let_go = asyncio.run(asked(400_000, read=True, seconds=20))
    assert came > 400_000
    assert let_go
