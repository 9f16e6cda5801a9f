# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the whole is for: one thing goes wrong among many that go well, and the judgement names exactly that one."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import socket
import threading
import time
import typing

import pytest

from tests.unit.witness.servers import TEXT, Answer, Side, reset, response, serving, witnessed
from tests.witness.__main__ import main
from tests.witness.ledger import Ledger, MessageRecord, Record, SocketRecord

if typing.TYPE_CHECKING:
    from pathlib import Path

Line = Record | SocketRecord | MessageRecord

# Seconds, which only a request that is never answered needs.
PATIENCE = 30.0
BODY = bytes(range(256)) * 40
DIGEST = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
DOWNLOADS: dict[str, typing.Any] = {"downloads": (("/big", "digest"),), "streams": 1}
TALKS: dict[str, typing.Any] = {"websockets": ("/echo",), "talkers": 1, "talk_interval": 0.01, "talk_seconds": 3600}


def good(connection: socket.socket, _number: int) -> bool:
    """Answer well."""
    connection.sendall(response())
    return True


def only_one(bad: Answer, done: threading.Event) -> Answer:
    """Return an answer that is good but for the seventh one of the server, which is ``bad``; ``done`` after twelve."""
    numbers = itertools.count(1)

    def answer(connection: socket.socket, number: int) -> bool:
        nth = next(numbers)
        if nth == 12:
            done.set()
        return (bad if nth == 7 else good)(connection, number)

    return answer


def dropped(_connection: socket.socket, _number: int) -> bool:
    """Take the request and close."""
    return False


def doubled(connection: socket.socket, _number: int) -> bool:
    """Answer twice."""
    connection.sendall(response() * 2)
    return True


def truncated(connection: socket.socket, _number: int) -> bool:
    """Leave out the last byte."""
    connection.sendall(response()[:-1])
    return False


def of_another_version(connection: socket.socket, _number: int) -> bool:
    """Answer as v2."""
    connection.sendall(response(version="v2"))
    return True


def failing(connection: socket.socket, _number: int) -> bool:
    """Answer that it cannot."""
    connection.sendall(response(503, version="v2"))
    return True


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (dropped, "eof-before-status"),
        (doubled, "leftover-bytes"),
        (truncated, "truncated-body"),
        (of_another_version, None),
        (failing, None),
    ],
)
def test_one_bad_answer_among_good_ones(
    bad: Answer, why: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = threading.Event()
    with serving(only_one(bad, done)) as url:
        ledger = witnessed(url, tmp_path, until=done, timeout=PATIENCE)

    wrong = [record for record in ledger if record.error or record.status != 200 or record.version != "v1"]
    assert [record.error_kind for record in wrong] == [why]
    assert named(tmp_path, capsys, "--expect-version", "v1") == (1, wrong)


def slowly(connection: socket.socket, data: bytes) -> None:
    """Send in pieces, with pauses."""
    for start in range(0, len(data), 1024):
        connection.sendall(data[start : start + 1024])
        time.sleep(0.01)


def download(body: bytes, *, chunked: bool, short: int = 0, digest: str = DIGEST) -> Answer:
    """Return an answer that is ``body``, without the ``short`` last bytes."""
    lines = ["HTTP/1.1 200 OK", "X-Version: v1", f"Content-Digest: sha-256=:{digest}:"]
    lines += ["Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}", "Connection: close"]
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    data = "\r\n".join([*lines, "", ""]).encode() + framed

    def answer(connection: socket.socket, _number: int) -> bool:
        slowly(connection, data[: len(data) - short])
        return False

    return answer


def downloaded(answer: Answer, directory: Path) -> Ledger:
    """Run until something was answered: the downloads begin before that."""
    done = threading.Event()

    def tells(connection: socket.socket, number: int) -> bool:
        done.set()
        return answer(connection, number)

    with serving(tells) as url:
        return witnessed(url, directory, rate=5, until=done, timeout=PATIENCE, **DOWNLOADS)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(download(BODY, chunked=False, short=1), "truncated-body", id="one byte short"),
        pytest.param(download(BODY, chunked=True, short=5), "truncated-body", id="without the last chunk"),
        pytest.param(download(BODY[:-1], chunked=False), "wrong-body", id="short, and its length says so too"),
        pytest.param(download(BODY[:-1], chunked=True), "wrong-body", id="short, with a proper last chunk"),
        pytest.param(download(BODY + BODY, chunked=True), "wrong-body", id="doubled"),
        pytest.param(download(BODY, chunked=True, digest=""), "wrong-body", id="an empty digest"),
    ],
)
def test_a_download_that_is_not_whole(
    answer: Answer, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = downloaded(answer, tmp_path)

    slow = [record for record in ledger if record.kind == "slow"]
    assert {record.error_kind for record in slow} == {why}
    code, shown = named(tmp_path, capsys)
    assert code == 1
    assert [record for record in shown if isinstance(record, Record) and record.kind == "slow"] == slow


Misbehave = typing.Callable[[Side, int, bytes], bool]


def talked(misbehave: Misbehave, directory: Path, **more: typing.Any) -> Ledger:
    """Run until the sixth message of a WebSocket or its end; ``misbehave`` answers them and tells whether to go on."""
    done = threading.Event()

    def converse(side: Side) -> None:
        side.on_text = lambda: done.set() if side.texts == 6 else None
        going = True
        try:
            while going:
                opcode, payload = side.hear()
                going = misbehave(side, side.texts, payload) if opcode == TEXT else side.answer(opcode, payload)
        finally:
            done.set()

    with serving(good, converse) as url:
        return witnessed(url, directory, until=done, **{**TALKS, "timeout": PATIENCE, **more})


def loses(side: Side, number: int, payload: bytes) -> bool:
    """Do not answer the third message."""
    return number == 3 or side.answer(TEXT, payload)


def doubles(side: Side, number: int, payload: bytes) -> bool:
    """Answer the third message twice."""
    return (number != 3 or side.answer(TEXT, payload)) and side.answer(TEXT, payload)


def reorders(side: Side, number: int, payload: bytes) -> bool:
    """Answer the third message after the fourth."""
    if number == 4:
        side.answer(TEXT, payload)
        return side.answer(TEXT, payload.rpartition(b"-")[0] + b"-3")
    return number == 3 or side.answer(TEXT, payload)


def cuts(side: Side, number: int, payload: bytes) -> bool:
    """End the stream after the third message, without a word."""
    if number <= 3:
        side.answer(TEXT, payload)
    if number == 3:
        side.connection.shutdown(socket.SHUT_WR)
    return True


def resets(side: Side, number: int, payload: bytes) -> bool:
    """Break the connection off after the third message."""
    side.answer(TEXT, payload)
    return number < 3 or reset(side.connection)


def closes_with(code: int) -> Misbehave:
    """Return an answer that closes after the first message."""

    def answer(side: Side, _number: int, payload: bytes) -> bool:
        side.answer(TEXT, payload)
        side.close(code)
        return False

    return answer


def changes(side: Side, number: int, payload: bytes) -> bool:
    """Answer the third message as v2."""
    side.repeat(payload, version="v2" if number == 3 else "v1")
    return True


@pytest.mark.parametrize(
    ("misbehave", "sort", "why"),
    [
        (loses, SocketRecord, "lost: no answer to message 3 of"),
        (doubles, MessageRecord, "doubled: message 3"),
        (reorders, MessageRecord, "reordered: message 3 was answered after 4"),
        (cuts, SocketRecord, "cut: the stream ended between two messages"),
        (resets, SocketRecord, "reset: ConnectionResetError"),
        (closes_with(1011), SocketRecord, "closed by the server with code 1011"),
        (changes, MessageRecord, "changed: v2 answers on a connection to v1"),
    ],
)
def test_a_websocket_that_goes_wrong(
    misbehave: Misbehave,
    sort: type[Line],
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # What is lost is waited for so long; requests that a busy machine does not answer in this time do not matter here.
    ledger = talked(misbehave, tmp_path, timeout=1)

    code, shown = named(tmp_path, capsys, why=why)
    assert code == 1
    assert {type(line) for line in shown} == {sort}
    assert shown[0].connection == ledger.sockets[0].connection


def test_a_clean_run_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = talked(lambda side, _number, payload: side.answer(TEXT, payload), tmp_path)

    assert named(tmp_path, capsys, "--expect-version", "v1") == (0, [])
    assert {(one.closer, one.code) for one in ledger.sockets} == {("client", 1000)}
    assert len(ledger.messages) == sum(one.sent for one in ledger.sockets) >= 6
    assert len(ledger) >= 1


@pytest.mark.parametrize("chunked", [True, False])
def test_a_whole_download_passes(chunked: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = downloaded(download(BODY, chunked=chunked), tmp_path)

    assert named(tmp_path, capsys, "--expect-version", "v1") == (0, [])
    assert {record.body_bytes for record in ledger if record.kind == "slow"} == {len(BODY)}


@pytest.mark.parametrize("code", [1000, 1001, 1012])
def test_a_server_that_says_good_bye_is_fine(code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = talked(closes_with(code), tmp_path, talk_interval=60)

    assert named(tmp_path, capsys, "--expect-version", "v1") == (0, [])
    assert ("server", code, 1) in {(one.closer, one.code, one.sent) for one in ledger.sockets}


@pytest.mark.parametrize("spoil", ["leave out", "double", "cut"])
def test_a_ledger_that_was_not_written_to_its_end_or_changed_afterwards_does_not_pass(
    spoil: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talked(lambda side, _number, payload: side.answer(TEXT, payload), tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if '"request"' in line)
    spoilt = {
        "leave out": [*lines[:at], *lines[at + 1 :]],
        "double": [*lines[:at], lines[at], *lines[at:]],
        "cut": lines[:-1],
    }[spoil]
    path.write_text("".join(spoilt), encoding="ascii")

    assert named(tmp_path, capsys) == (1, [])


def named(
    directory: Path, capsys: pytest.CaptureFixture[str], *arguments: str, why: str = ""
) -> tuple[int, list[typing.Any]]:
    """Judge with the tool; return its exit code and the lines of the ledger that it named, as they are there."""
    path = directory / "ledger.jsonl"
    code = main(["judge", str(path), *arguments])
    ledger = path.read_text(encoding="ascii").splitlines()
    kinds = {kind.what: kind for kind in (Record, SocketRecord, MessageRecord)}
    found: list[Line] = []
    for line in capsys.readouterr().out.splitlines():
        reason, marked, place = line.partition(f": {path}:")
        if marked and why in reason:
            number, _, text = place.partition(": ")
            assert ledger[int(number) - 1] == text
            fields = json.loads(text)
            found.append(kinds[fields.pop("what")](**fields))
    return code, found
