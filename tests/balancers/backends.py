# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Servers behind a balancer, which say which slot they are and do what a path asks for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import socket
import threading
import typing

__all__ = ["Backend"]


class Backend:
    """One server; ``healthy`` is what its health check answers. ``/held`` waits for ``release``, ``/slow`` in the middle of its answer.

    ``/chat`` becomes a connection of another protocol, which sends back what it gets.
    """

    def __init__(self, host: str, slot: str) -> None:
        """Serve on a free port."""
        self.host, self.slot = host, slot
        self.healthy = True
        self.asked: list[str] = []
        self.held = threading.Event()
        self.release = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"backend": self}))
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: typing.Any, client_address: typing.Any) -> None:
        """Say nothing: whoever goes away in the middle is the test's doing."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    backend: typing.ClassVar[Backend]

    def do_GET(self) -> None:
        """Answer what the path asks for."""
        self.backend.asked.append(self.path)
        if self.path == "/held":
            self.backend.held.set()
            self.backend.release.wait(30)
        if self.path == "/chat":
            self._chat()
            return
        if self.path == "/slow":
            self._answer(200, length=4, streamed=True)
            self.backend.held.set()
            self.backend.release.wait(30)
            self.wfile.write(b"{}")
            return
        if self.path == "/broken-off":
            self._answer(200, length=1000)
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        health = 200 if self.backend.healthy else 503
        self._answer({"/health/ready": health, "/500": 500, "/502": 502, "/418": 418, "/404": 404}.get(self.path, 200))

    def _chat(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accepted = base64.b64encode(hashlib.sha1(key.encode()).digest())  # noqa: S324 - WebSocket's own
        self.send_header("Sec-WebSocket-Accept", accepted.decode())
        self.end_headers()
        self.wfile.flush()
        self.backend.held.set()
        self.close_connection = True
        while data := self.connection.recv(1000):
            self.connection.sendall(data)

    def do_POST(self) -> None:
        """Take the body and answer."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._answer(200)

    def _answer(self, status: int, length: int = 2, *, streamed: bool = False) -> None:
        self.send_response(status)
        self.send_header("X-Version", self.backend.slot)
        self.send_header("X-Instance", self.backend.host)
        self.send_header("X-Slot", self.backend.slot)
        if streamed:
            self.send_header("X-Accel-Buffering", "no")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(b"{}")
        self.wfile.flush()

    def log_message(self, format: str, *args: typing.Any) -> None:  # noqa: A002 - the parent's name
        """Say nothing."""
