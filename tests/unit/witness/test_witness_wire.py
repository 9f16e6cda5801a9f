# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The strict reader of responses, fed whole and byte by byte."""

from __future__ import annotations

import pytest

from tests.witness.wire import ResponseParser, WireError, encode_request

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parse(data: bytes, *, step: int, end: bool) -> ResponseParser:
    """Feed ``data`` in pieces of ``step`` bytes, then the end of the stream if ``end``."""
    parser = ResponseParser()
    for at in range(0, len(data), step):
        if not parser.complete:
            parser.feed(data[at : at + step])
    if end:
        parser.eof()
    return parser


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("data", "end", "status", "body_bytes", "closes"),
    [
        pytest.param(OK + b"Content-Length: 5\r\n\r\nhello", False, 200, 5, False, id="length"),
        pytest.param(OK + b"content-length:0\r\nConnection: Close\r\n\r\n", False, 200, 0, True, id="empty"),
        pytest.param(OK + b"Connection: close\r\n\r\nhello", True, 200, 5, True, id="until the announced end"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello", True, 200, 5, True, id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            False,
            200,
            1,
            False,
            id="kept HTTP/1.0",
        ),
        pytest.param(CHUNKED + b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n", False, 200, 13, False, id="chunks"),
        pytest.param(CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n", False, 200, 0, False, id="trailer"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304\r\n\r\n", False, 304, 0, False, id="interim, 304"),
        pytest.param(b"HTTP/1.1 503 \r\nContent-Length: 2\r\n\r\nno", False, 503, 2, False, id="empty reason"),
    ],
)
def test_proper_responses(data: bytes, *, step: int, end: bool, status: int, body_bytes: int, closes: bool) -> None:
    parser = parse(data, step=step, end=end)

    assert (parser.complete, parser.status, parser.body_bytes, parser.closes) == (True, status, body_bytes, closes)
    assert parser.leftover == 0


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "eof-before-status"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "eof-before-status"),
        (b"HTTP/1.1 2", "truncated-head"),
        (OK + b"Content-Length: 2\r\n", "truncated-head"),
        (OK + b"Content-Length: 2\r\n\r\n", "truncated-body"),
        (OK + b"Content-Length: 2\r\n\r\nx", "truncated-body"),
        (CHUNKED, "truncated-body"),
        (CHUNKED + b"3\r\nab", "truncated-body"),
        (CHUNKED + b"3\r\nabc", "truncated-body"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", "truncated-body"),
        (b"HTTP/2 200\r\n\r\n", "bad-status-line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "bad-status-line"),
        (b"HTTP/1.1 600 OK\r\n\r\n", "bad-status-line"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "bad-status-line"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "bad-status-line"),
        (OK + b"Name : x\r\n\r\n", "bad-header"),
        (OK + b"X: 1\r\n folded\r\n\r\n", "bad-header"),
        (OK + b"X: " + b"x" * 33_000, "bad-header"),
        (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nno", "bad-framing"),
        (OK + b"Content-Length: -1\r\n\r\n", "bad-framing"),
        (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-framing"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "bad-framing"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-framing"),
        (OK + b"\r\nhello", "bad-framing"),
        (CHUNKED + b"x\r\n", "bad-chunk"),
        (CHUNKED + b"3\r\nabcd\r\n", "bad-chunk"),
        (CHUNKED + b"0" * 2000, "bad-chunk"),
    ],
)
def test_anything_doubtful_is_an_error_of_its_kind(data: bytes, kind: str, step: int) -> None:
    with pytest.raises(WireError) as caught:
        parse(data, step=step, end=True)

    assert caught.value.kind == kind


def test_bytes_after_the_response_are_counted() -> None:
    parser = ResponseParser()
    parser.feed(OK + b"Content-Length: 2\r\n\r\nhiHTTP")

    assert (parser.complete, parser.leftover) == (True, 4)


def test_a_request_says_all_that_is_needed() -> None:
    data = encode_request(method="POST", path="/orders", host="h:1", body=b"{}", close=True)
    head, _, body = data.partition(b"\r\n\r\n")

    assert head.startswith(b"POST /orders HTTP/1.1\r\nHost: h:1\r\n")
    assert {b"Content-Length: 2", b"Content-Type: application/json", b"Connection: close"} <= set(head.split(b"\r\n"))
    assert body == b"{}"
