"""An app that costs next to nothing: each of its sockets answers everything with the slot that it stands for.

``python -m tests.bench.storm_app <socket>:<slot>:<host> ...``, with listening sockets that the caller has handed over.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import sys

ANSWER = "HTTP/1.1 200 OK\r\nX-Slot: {slot}\r\nX-Instance: {host}\r\nContent-Length: 2\r\n\r\n{{}}"


class Answering(asyncio.Protocol):
    """One connection. Requests have no body."""

    def __init__(self, answer: bytes) -> None:
        """Remember what to say."""
        self.answer = answer
        self.transport: asyncio.Transport | None = None
        self.seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to say it to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        assert self.transport is not None
        *requests, self.seen = (self.seen + data).split(b"\r\n\r\n")
        for request in requests:
            self.transport.write(self.answer)
            if b"connection: close" in request.lower():
                self.transport.close()


async def serve(arguments: list[str]) -> None:
    """Serve until somebody ends this process."""
    loop = asyncio.get_running_loop()
    servers = []
    for argument in arguments:
        descriptor, slot, host = argument.split(":")
        answer = ANSWER.format(slot=slot, host=host).encode()
        listener = socket.socket(fileno=int(descriptor))
        servers.append(await loop.create_server(functools.partial(Answering, answer), sock=listener))
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
