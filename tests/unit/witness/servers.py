# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Small servers on loopback, for HTTP and WebSockets, that misbehave exactly as a test wants."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
import typing

from tests.witness.client import Client
from tests.witness.ledger import Ledger, LedgerWriter, load
from tests.witness.options import Options, loopback_target

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Answer",
    "Side",
    "Talking",
    "closed_port",
    "opening",
    "repeats",
    "reset",
    "response",
    "serving",
    "witnessed",
]

# Called with the connection and the number of the request on it; tells whether to keep the connection.
Answer = typing.Callable[[socket.socket, int], bool]
# Called with a WebSocket that is open.
Talking = typing.Callable[["Side"], None]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
LONGEST_SECONDS = 60.0


def response(status: int = 200, body: bytes = b"{}", *, version: str = "v1", close: bool = False) -> bytes:
    """Return a proper response."""
    lines = [f"HTTP/1.1 {status} Whatever", f"X-Version: {version}", "X-Instance: app1", "X-Slot: blue"]
    lines += [f"Content-Length: {len(body)}", *(["Connection: close"] if close else []), "", ""]
    return "\r\n".join(lines).encode() + body


def reset(connection: socket.socket) -> bool:
    """Close with a TCP reset instead of an end of stream."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


class Side:
    """The server's side of a WebSocket."""

    def __init__(self, connection: socket.socket, stream: typing.BinaryIO) -> None:
        """Take a connection on which the handshake is done."""
        self.connection = connection
        self.texts = 0
        self.on_text: typing.Callable[[], object] = lambda: None
        self._stream = stream

    def hear(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame; EOFError at the end of the stream."""
        head = self._stream.read(2)
        if len(head) < 2:
            raise EOFError
        assert head[0] & 0xF0 == 0x80, "in parts, or with reserved bits"
        assert head[1] & 0x80, "a client must mask"
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(self._stream.read(2), "big")
        mask, masked = self._stream.read(4), self._stream.read(length)
        if head[0] & 0x0F == TEXT:
            self.texts += 1
            self.on_text()
        return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))

    def send(self, opcode: int, payload: bytes, *, first: int = 0x80) -> None:
        """Send one frame; ``first`` are the bits beside the opcode: by default, that it is the last one."""
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
        self.connection.sendall(bytes([first | opcode]) + size + payload)

    def repeat(self, payload: bytes, *, version: str = "v1") -> None:
        """Send a text again, with who says so."""
        self.send(TEXT, json.dumps({"echo": payload.decode(), "version": version}).encode())

    def close(self, code: int) -> None:
        """Send a close frame and wait for the answer."""
        self.send(CLOSE, code.to_bytes(2, "big"))
        while self.hear()[0] != CLOSE:
            pass

    def answer(self, opcode: int, payload: bytes) -> bool:
        """Answer a frame as one should; tell whether to go on."""
        if opcode == TEXT:
            self.repeat(payload)
        else:
            self.send(PONG if opcode == PING else CLOSE, payload)
        return opcode != CLOSE


def repeats(side: Side) -> None:
    """Talk as one should, to the end."""
    while side.answer(*side.hear()):
        pass


@contextlib.contextmanager
def serving(answer: Answer, talk: Talking = repeats) -> typing.Iterator[str]:
    """Serve on a free port with one thread for each connection, WebSockets with ``talk``; yield the URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    connections: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=_converse, args=(connection, answer, talk), daemon=True).start()

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


def _converse(connection: socket.socket, answer: Answer, talk: Talking) -> None:
    number = 0
    with contextlib.suppress(OSError, EOFError), connection, connection.makefile("rb") as stream:
        while (headers := _read_request(stream)) is not None:
            number += 1
            if b"sec-websocket-key" in headers:
                connection.sendall(opening(headers[b"sec-websocket-key"]))
                talk(Side(connection, stream))
                return
            if not answer(connection, number):
                return


def opening(key: bytes, version: str = "v1") -> bytes:
    """Return the answer that opens a WebSocket."""
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}", f"X-Version: {version}", "", ""]
    return "\r\n".join(lines).encode()


def _read_request(stream: typing.BinaryIO) -> dict[bytes, bytes] | None:
    headers = {}
    while (line := stream.readline()) not in {b"\r\n", b""}:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    length = int(headers.get(b"content-length", b"0"))
    return headers if line != b"" and len(stream.read(length)) == length else None


def closed_port() -> str:
    """Return the URL of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def witnessed(
    url: str,
    directory: Path,
    *,
    seconds: float = 0.1,
    rate: float = 150,
    connections: int = 2,
    timeout: float = 3,
    until: threading.Event | None = None,
    **more: typing.Any,
) -> Ledger:
    """Run the client against ``url`` in this process and return what it wrote; ``more`` as in Options.

    Where ``until`` is given the run lasts until that is set, however slow the machine is.
    """
    options = Options(
        target=loopback_target(url),
        seconds=seconds if until is None else LONGEST_SECONDS,
        rate=rate,
        posts=(("/orders", '{"product_id": 1}'),),
        connections=connections,
        timeout=timeout,
        **more,
    )
    path = directory / "ledger.jsonl"
    asyncio.run(_run(Client(options, LedgerWriter(path)), until))
    return load(path)


async def _run(client: Client, until: threading.Event | None) -> None:
    running = asyncio.create_task(client.run())
    while until is not None and not until.is_set() and not running.done():
        await asyncio.wait({running}, timeout=0.02)
    if until is not None:
        assert until.is_set(), f"what was waited for has not come within {LONGEST_SECONDS} s"
        client.stop()
    await running
