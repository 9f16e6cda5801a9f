# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Small HTTP servers on loopback that misbehave exactly as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import typing

from tests.witness.client import Client
from tests.witness.ledger import Ledger, LedgerWriter, load
from tests.witness.options import Options, loopback_target

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Answer", "closed_port", "reset", "response", "serving", "witnessed"]

# Called with the connection and the number of the request on it; tells whether to keep the connection.
Answer = typing.Callable[[socket.socket, int], bool]


def response(status: int = 200, body: bytes = b"{}", *, version: str = "v1", close: bool = False) -> bytes:
    """Return a proper response."""
    lines = [f"HTTP/1.1 {status} Whatever", f"X-Version: {version}", "X-Instance: app1", "X-Slot: blue"]
    lines += [f"Content-Length: {len(body)}", *(["Connection: close"] if close else []), "", ""]
    return "\r\n".join(lines).encode() + body


def reset(connection: socket.socket) -> bool:
    """Close with a TCP reset instead of an end of stream."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@contextlib.contextmanager
def serving(answer: Answer) -> typing.Iterator[str]:
    """Serve on a free port with one thread for each connection; yield the URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    connections: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=_converse, args=(connection, answer), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _converse(connection: socket.socket, answer: Answer) -> None:
    number = 0
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        while _read_request(stream):
            number += 1
            if not answer(connection, number):
                return


def _read_request(stream: typing.BinaryIO) -> bool:
    length = 0
    while (line := stream.readline()) not in {b"\r\n", b""}:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return line != b"" and len(stream.read(length)) == length


def closed_port() -> str:
    """Return the URL of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def witnessed(
    url: str, directory: Path, *, seconds: float = 0.1, rate: float = 150, connections: int = 2, timeout: float = 3
) -> Ledger:
    """Run the client against ``url`` in this process and return what it wrote."""
    options = Options(
        target=loopback_target(url),
        seconds=seconds,
        rate=rate,
        posts=(("/orders", '{"product_id": 1}'),),
        connections=connections,
        timeout=timeout,
    )
    path = directory / "ledger.jsonl"
    asyncio.run(Client(options, LedgerWriter(path)).run())
    return load(path)
