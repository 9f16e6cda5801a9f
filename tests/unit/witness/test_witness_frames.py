# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The strict reader of WebSocket frames, fed whole and byte by byte."""

from __future__ import annotations

import pytest

from tests.unit.witness.servers import opening
from tests.witness.frames import (
    Frame,
    FrameParser,
    Opcode,
    close_code,
    encode_frame,
    encode_handshake,
    new_key,
    refuse_handshake,
)
from tests.witness.wire import ResponseParser, WireError

LONG = b"x" * 300


def parse(data: bytes, step: int) -> list[Frame]:
    """Feed ``data`` in pieces of ``step`` bytes."""
    parser = FrameParser()
    return [frame for at in range(0, len(data), step) for frame in parser.feed(data[at : at + step])]


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x81\x02hi", [Frame(Opcode.TEXT, b"hi")]),
        (b"\x82\x00\x81\x01a", [Frame(Opcode.BINARY, b""), Frame(Opcode.TEXT, b"a")]),
        (b"\x81\x7e\x01\x2c" + LONG, [Frame(Opcode.TEXT, LONG)]),
        (b"\x81\x7f" + bytes(6) + b"\x01\x2c" + LONG, [Frame(Opcode.TEXT, LONG)]),
        (b"\x01\x01a\x00\x01b\x80\x01c", [Frame(Opcode.TEXT, b"abc")]),
        (b"\x01\x01a\x89\x01p\x80\x01b", [Frame(Opcode.PING, b"p"), Frame(Opcode.TEXT, b"ab")]),
        (b"\x8a\x00\x88\x02\x03\xe8", [Frame(Opcode.PONG, b""), Frame(Opcode.CLOSE, b"\x03\xe8")]),
        (b"\x81\x02h", []),
    ],
)
def test_proper_frames(data: bytes, expected: list[Frame], step: int) -> None:
    assert parse(data, step) == expected


@pytest.mark.parametrize("step", [1, 10_000])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x81\x82abcdhi", id="masked"),
        pytest.param(b"\xc1\x02hi", id="compressed"),
        pytest.param(b"\x83\x00", id="of an unknown kind"),
        pytest.param(b"\x80\x01a", id="the end of nothing"),
        pytest.param(b"\x01\x01a\x81\x01b", id="a message within a message"),
        pytest.param(b"\x09\x00", id="a ping in parts"),
        pytest.param(b"\x89\x7e\x00\x7e" + bytes(126), id="a long ping"),
        pytest.param(b"\x82\x7f" + b"\xff" * 8, id="too long"),
        pytest.param(b"\x02\x7f" + bytes(5) + b"\x10\x00\x00" + bytes(1 << 20) + b"\x80\x01a", id="too long in parts"),
    ],
)
def test_what_a_server_must_not_send(data: bytes, step: int) -> None:
    with pytest.raises(WireError) as caught:
        parse(data, max(step, len(data) // 50))

    assert caught.value.kind == "bad-frame"


@pytest.mark.parametrize("length", [0, 2, 125, 126, 65535])
def test_what_is_sent_is_masked_and_whole(length: int) -> None:
    payload = bytes(at % 251 for at in range(length))
    data = encode_frame(Opcode.TEXT, payload)
    at = 2 if length < 126 else 4
    mask, masked = data[at : at + 4], data[at + 4 :]

    assert data[0] == 0x81
    assert data[1] & 0x80
    # Unmasked it is what a server could send.
    unmasked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))
    assert parse(bytes([data[0], data[1] & 0x7F]) + data[2:at] + unmasked, 10_000) == [Frame(Opcode.TEXT, payload)]
    assert len({encode_frame(Opcode.TEXT, b"same")[2:6] for _ in range(8)}) > 1
    with pytest.raises(ValueError, match="65536 bytes"):
        encode_frame(Opcode.TEXT, bytes(65536))


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8", 1000), (b"\x03\xf3gone", 1011)])
def test_codes(payload: bytes, code: int) -> None:
    assert close_code(payload) == code


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xe7", b"\x03\xed", b"\x13\x88"])
def test_a_close_with_a_code_that_is_none(payload: bytes) -> None:
    with pytest.raises(WireError, match="bad-frame: close"):
        close_code(payload)


def handshake(key: str, answer: bytes) -> ResponseParser:
    """Return the answer parsed, and judged against ``key``."""
    parser = ResponseParser(upgrade=True)
    parser.feed(answer)
    assert parser.complete
    refuse_handshake(parser, key)
    return parser


def test_a_handshake_as_in_the_standard() -> None:
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    answer = opening(key.encode())

    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert handshake(key, answer + b"\x81\x00").rest == b"\x81\x00"
    assert handshake(key, answer.replace(b"Connection: U", b"Connection: keep-alive, u")).status == 101
    head, _, body = encode_handshake(path="/echo", host="h:1", key=key).partition(b"\r\n\r\n")
    assert head.startswith(b"GET /echo HTTP/1.1\r\nHost: h:1\r\n")
    assert {b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"} <= set(head.split(b"\r\n"))
    assert body == b""
    assert new_key() != new_key()


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: Upgrade", b"Connection: close"),
        (b"Accept: ", b"Accept: x"),
        (b"X-Version", b"Sec-WebSocket-Extensions"),
        (b"X-Version", b"Sec-WebSocket-Protocol"),
    ],
)
def test_a_handshake_for_something_else_is_a_fault(what: bytes, instead: bytes) -> None:
    key = new_key()
    with pytest.raises(WireError, match="bad-handshake"):
        handshake(key, opening(key.encode()).replace(what, instead))


def test_nobody_changes_the_protocol_unasked() -> None:
    with pytest.raises(WireError, match="nobody asked"):
        ResponseParser().feed(opening(b"key"))
