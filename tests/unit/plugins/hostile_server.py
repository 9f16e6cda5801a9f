"""An HTTP server that does, for each path, one thing that a broken application can do."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import typing


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole HTTP answer."""
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n\r\n" + body


def version(text: str) -> bytes:
    """Return the body of a health endpoint of that version."""
    return json.dumps({"status": "healthy", "version": text}).encode()


OK = answer(version("v1.1.0"))
WHOLE: dict[str, bytes] = {
    "/ok": OK,
    "/old": answer(version("v1.0.0")),
    "/500": answer(version("v1.1.0"), "500 Internal Server Error"),
    "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/redirect": answer(b"", "302 Found", "Location: http://elsewhere.test/\x1b[2J"),
    "/not-json": answer(b"<html>fine</html>"),
    "/list": answer(b'["v1.1.0"]'),
    "/number": answer(b'{"version": 1.1}'),
    "/null": answer(b'{"version": null}'),
    "/no-version": answer(b'{"status": "healthy"}'),
    "/nested": answer(b'{"build": {"version": "v1.1.0"}}'),
    "/not-utf-8": answer(b'{"version": "v1.1.0\xff"}'),
    "/deep": answer(b"[" * 60_000),
    "/empty": answer(b""),
    "/garbage": b"\x00\xff\x00 is this HTTP?\r\n\r\n",
    "/no-number": b"HTTP/1.1 twohundred OK\r\n\r\n",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + version("v1.1.0"),
    "/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "/cut-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "/until-closed": b"HTTP/1.0 200 OK\r\n\r\n" + version("v1.1.0"),
    "/many-headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
    "/long-header": b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 100_000 + b"\r\n\r\n",
    "/closes": b"",
}


class HostileServer:
    """The server: ``url`` and ``port`` say where, ``requests`` holds the heads of the requests so far."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop; hanging answers end too."""
        self._closing.set()
        # close() alone leaves the thread that accepts waiting for ever
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = connection.recv(65536).decode("latin-1")
            if not head:
                return
            with self._lock:
                self.requests.append(head)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                for part in self._parts(head.split(" ")[1] if head.startswith("GET ") else "/garbage"):
                    connection.sendall(part)
            finally:
                with self._lock:
                    self._at_once -= 1

    def _parts(self, path: str) -> typing.Iterator[bytes]:
        if path in WHOLE:
            return iter([WHOLE[path]])
        endless: dict[str, typing.Callable[[], typing.Iterator[bytes]]] = {
            "/flapping": self._flap,
            "/huge": lambda: iter([answer(b" " * 10_000_000)]),
            "/hang": lambda: self._slowly(b"", 1),
            "/drip-head": lambda: self._slowly(OK, 0.02),
            "/drip-body": lambda: itertools.chain([OK[:60]], self._slowly(OK[60:], 0.02)),
            "/continue": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
            "/slow": lambda: itertools.chain(self._pause(0.2), [OK]),
        }
        return endless[path]()

    def _flap(self) -> typing.Iterator[bytes]:
        asked = sum("/flapping" in request for request in self.requests)
        return iter([OK if asked % 2 else WHOLE["/500"]])

    def _pause(self, seconds: float) -> typing.Iterator[bytes]:
        self._closing.wait(seconds)
        yield b""

    def _slowly(self, data: bytes, pause: float) -> typing.Iterator[bytes]:
        """Give a byte now and then; without end, because the last byte never comes."""
        for number in itertools.count():
            if self._closing.wait(pause):
                return
            yield data[number : number + 1] if number < len(data) - 1 else b""
