# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One HTTP/1.1 response, read strictly and without any input or output of its own.

Body bytes are counted and handed on, not kept. Whatever leaves doubt whether the response arrived whole and alone is a fault.
"""

from __future__ import annotations

import re
import typing

__all__ = ["ResponseParser", "WireError", "encode_request"]

MAX_HEAD_BYTES = 32768
MAX_CHUNK_LINE_BYTES = 1024
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class WireError(Exception):
    """What exactly went wrong: a ``kind`` to count by, and the detail in words."""

    def __init__(self, kind: str, detail: str) -> None:
        """Join both as ``kind: detail``, the form in which the ledger keeps it."""
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def encode_request(*, method: str, path: str, host: str, body: bytes | None, close: bool) -> bytes:
    """Return the bytes of one request; a ``body`` is sent as JSON, ``close`` announces that it is the only one."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: baton-witness", "Accept: */*"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


class ResponseParser:
    """Takes bytes as they come; ``complete`` when the response is whole, ``leftover`` counts what came after it."""

    def __init__(self, *, upgrade: bool = False, on_body: typing.Callable[[bytes], object] | None = None) -> None:
        """Expect a status line.

        Args:
            upgrade: whether a change of protocol was asked for; what follows the head of a 101 is then ``rest``.
            on_body: gets the bytes of the body as they come.
        """
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body_bytes = 0
        self.complete = False
        self.leftover = 0
        self._upgrade = upgrade
        self._on_body = on_body
        self._buffer = bytearray()
        self._version = b"1"
        self._missing = 0
        self._framing: str | None = None
        self._step: typing.Callable[[], bool] = self._read_head

    @property
    def closes(self) -> bool:
        """Whether the server announced that it closes the connection after this response."""
        options = [option.strip().lower() for option in self.headers.get("connection", "").split(",")]
        return "close" in options or (self._version == b"0" and "keep-alive" not in options)

    @property
    def rest(self) -> bytes:
        """What came after the response."""
        return bytes(self._buffer)

    @property
    def progress(self) -> str:
        """How far the response has come, in words."""
        if self._framing is not None:
            return f"in the body, {self._framing}, after {self.body_bytes} bytes of it"
        return f"within the head, after {len(self._buffer)} bytes of it" if self._buffer else "before the status"

    def feed(self, data: bytes) -> None:
        """Take ``data``; raise WireError as soon as it cannot be a proper response."""
        self._buffer += data
        while not self.complete and self._step():
            pass
        if self.complete:
            self.leftover = len(self._buffer)

    def eof(self) -> None:
        """Take the end of the stream; raise WireError unless the response is whole with it."""
        if self._step == self._read_until_eof:
            self.complete = True
        elif self._framing is not None:
            raise WireError("truncated-body", f"the stream ended {self.progress}")
        elif self._buffer:
            raise WireError("truncated-head", f"the stream ended {self.progress}: {bytes(self._buffer[:60])!r}")
        else:
            raise WireError("eof-before-status", "the stream ended without one byte of an answer")

    def _read_head(self) -> bool:
        start = bytes(self._buffer[:7])
        if start != b"HTTP/1."[: len(start)]:
            raise WireError("bad-status-line", repr(bytes(self._buffer[:60])))
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise WireError("bad-header", f"the head is longer than {MAX_HEAD_BYTES} bytes")
            return False
        status_line, *header_lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        match = STATUS_LINE.fullmatch(status_line)
        if match is None:
            raise WireError("bad-status-line", repr(status_line[:60]))
        status = int(match[2])
        headers = _headers(header_lines)
        if status == 101 and not self._upgrade:
            raise WireError("bad-status-line", "101, a change of protocol that nobody asked for")
        if status < 200 and status != 101:
            return bool(self._buffer)  # an interim response: the real head follows
        self.status, self._version, self.headers = status, match[1], headers
        self._choose_framing()
        return True

    def _choose_framing(self) -> None:
        coding, length = self.headers.get("transfer-encoding"), self.headers.get("content-length")
        if self.status in {101, 204, 304}:
            self.complete = True
        elif coding is not None:
            if length is not None or coding.lower() != "chunked" or self._version == b"0":
                raise WireError("bad-framing", f"Transfer-Encoding {coding!r} with Content-Length {length!r}")
            self._framing, self._step = "chunked", self._read_chunk_line
        elif length is not None:
            if not re.fullmatch(r"[0-9]{1,18}", length):
                raise WireError("bad-framing", f"Content-Length {length!r}")
            self._missing = int(length)
            self._framing, self._step = f"Content-Length {length}", self._read_sized
            self.complete = self._missing == 0
        elif self.closes:
            self._framing, self._step = "until the end of the stream", self._read_until_eof
        else:
            raise WireError(
                "bad-framing", "no length, not chunked and no announced close: truncation would be invisible"
            )

    def _drop(self, limit: int) -> None:
        count = min(limit, len(self._buffer))
        if self._on_body is not None:
            self._on_body(bytes(self._buffer[:count]))
        del self._buffer[:count]
        self.body_bytes += count

    def _read_until_eof(self) -> bool:
        self._drop(len(self._buffer))
        return False

    def _read_sized(self) -> bool:
        before = self.body_bytes
        self._drop(self._missing)
        self._missing -= self.body_bytes - before
        self.complete = self._missing == 0
        return False

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0 and len(self._buffer) <= MAX_CHUNK_LINE_BYTES:
            return None
        if end < 0 or end > MAX_CHUNK_LINE_BYTES:
            raise WireError("bad-chunk", f"a line longer than {MAX_CHUNK_LINE_BYTES} bytes {self.progress}")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_chunk_line(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise WireError("bad-chunk", f"size line {line[:60]!r} {self.progress}")
        self._missing = int(match[1], 16)
        self._step = self._read_chunk if self._missing else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        self._read_sized()
        self.complete = False
        if self._missing or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise WireError("bad-chunk", f"no line end after a chunk {self.progress}")
        del self._buffer[:2]
        self._step = self._read_chunk_line
        return True

    def _read_trailer(self) -> bool:
        line = self._take_line()
        self.complete = line == b""
        return line is not None


def _headers(lines: list[bytes]) -> dict[str, str]:
    """Return the headers by lower-case name, repeated ones joined with a comma."""
    headers: dict[str, str] = {}
    for line in lines:
        match = HEADER.fullmatch(line)
        if match is None:
            raise WireError("bad-header", repr(line[:60]))
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
