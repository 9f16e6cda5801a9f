# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""WebSockets (RFC 6455) from the client's side, without any input or output of its own.

As strict as ``wire``: what a server must not send is a fault, and no extension is spoken.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import hashlib
import os
import typing

from tests.witness.wire import ResponseParser, WireError

__all__ = [
    "Frame",
    "FrameParser",
    "Opcode",
    "close_code",
    "encode_frame",
    "encode_handshake",
    "new_key",
    "refuse_handshake",
]

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MAX_MESSAGE_BYTES = 1 << 20
MAX_CONTROL_BYTES = 125
NO_CODE = 1005
"""What a close frame without a code means."""


class Opcode(enum.IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One frame, or a message put together from its frames (``final`` then)."""

    opcode: Opcode
    payload: bytes
    final: bool = True


def new_key() -> str:
    """Return a key for a handshake."""
    return base64.b64encode(os.urandom(16)).decode()


def encode_handshake(*, path: str, host: str, key: str) -> bytes:
    """Return the request that opens a WebSocket."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "User-Agent: baton-witness", "Upgrade: websocket"]
    lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    return "\r\n".join(lines).encode("ascii")


def refuse_handshake(response: ResponseParser, key: str) -> None:
    """Raise WireError unless this answer with status 101 opens the WebSocket that ``key`` asked for."""
    headers = response.headers
    # RFC 6455 wants SHA-1 here; it protects nothing.
    digest = hashlib.sha1(f"{key}{GUID}".encode(), usedforsecurity=False).digest()
    expected = {"upgrade": "websocket", "connection": "upgrade"}
    wrong = {name: headers.get(name) for name, token in expected.items() if token not in _tokens(headers.get(name, ""))}
    if headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
        wrong["sec-websocket-accept"] = headers.get("sec-websocket-accept")
    wrong |= {
        name: value for name, value in headers.items() if name in {"sec-websocket-extensions", "sec-websocket-protocol"}
    }
    if wrong:
        raise WireError("bad-handshake", f"status 101 with {wrong}")


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return one whole masked message; raise ValueError for one that needs an 8-byte length."""
    if len(payload) > 0xFFFF:
        raise ValueError(f"{len(payload)} bytes; expected at most {0xFFFF}")
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | size[0]]) + size[1:] + mask + masked


def close_code(payload: bytes) -> int:
    """Return the code of a close frame; raise WireError for one that is none."""
    if not payload:
        return NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if not 1000 <= code <= 4999 or code in {1004, NO_CODE, 1006, 1015}:
        raise WireError("bad-frame", f"close with {payload[:40]!r}")
    return code


class FrameParser:
    """Takes bytes as they come and gives messages and control frames."""

    def __init__(self) -> None:
        """Expect a frame."""
        self._buffer = bytearray()
        self._message: tuple[Opcode, bytearray] | None = None

    @property
    def progress(self) -> str:
        """Where the stream stands, in words."""
        if self._buffer:
            return f"in a frame, after {len(self._buffer)} bytes of it"
        return "in a message" if self._message is not None else "between two messages"

    def feed(self, data: bytes) -> typing.Iterator[Frame]:
        """Take ``data`` and yield what is whole; raise WireError as soon as it cannot be right."""
        self._buffer += data
        while (frame := self._take()) is not None:
            whole = self._join(frame)
            if whole is not None:
                yield whole

    def _take(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode = _opcode(buffer[0], buffer[1])
        length, head = buffer[1], 2
        if length >= 126:
            head = 4 if length == 126 else 10
            if len(buffer) < head:
                return None
            length = int.from_bytes(buffer[2:head], "big")
        final = bool(buffer[0] & 0x80)
        if opcode >= Opcode.CLOSE and (not final or length > MAX_CONTROL_BYTES):
            raise WireError("bad-frame", f"{opcode.name} in parts or of {length} bytes")
        if length > MAX_MESSAGE_BYTES:
            raise WireError("bad-frame", f"{length} bytes; expected at most {MAX_MESSAGE_BYTES}")
        if len(buffer) < head + length:
            return None
        payload = bytes(buffer[head : head + length])
        del buffer[: head + length]
        return Frame(opcode, payload, final)

    def _join(self, frame: Frame) -> Frame | None:
        if frame.opcode >= Opcode.CLOSE:
            return frame
        if (frame.opcode is Opcode.CONTINUATION) != (self._message is not None):
            raise WireError("bad-frame", f"{frame.opcode.name} {self.progress}")
        opcode, payload = self._message or (frame.opcode, bytearray())
        payload += frame.payload
        if len(payload) > MAX_MESSAGE_BYTES:
            raise WireError("bad-frame", f"a message longer than {MAX_MESSAGE_BYTES} bytes")
        self._message = None if frame.final else (opcode, payload)
        return Frame(opcode, bytes(payload)) if frame.final else None


def _opcode(first: int, second: int) -> Opcode:
    if first & 0x70 or second & 0x80 or first & 0x0F not in set(Opcode):
        raise WireError(
            "bad-frame", f"it begins with 0x{first:02x}{second:02x}: reserved, masked or of an unknown kind"
        )
    return Opcode(first & 0x0F)
