# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Downloads and WebSockets in detail: how they are read, spoken and ended."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import select
import threading
import typing

import pytest

from tests.unit.witness.servers import (
    CLOSE,
    PING,
    PONG,
    Answer,
    Side,
    Talking,
    closed_port,
    repeats,
    response,
    serving,
    witnessed,
)
from tests.witness.checker import judge
from tests.witness.ledger import Ledger, Record, SocketRecord
from tests.witness.options import Options, Target, UsageError, longest_end
from tests.witness.proof import Body, Proof, ProofError
from tests.witness.socket_checker import socket_faults
from tests.witness.wire import WireError

if typing.TYPE_CHECKING:
    import socket
    from pathlib import Path

BODY = bytes(range(256)) * 200
SHA256 = hashlib.sha256(BODY).hexdigest()
TALKS: dict[str, typing.Any] = {"websockets": ("/echo",), "talkers": 1, "talk_interval": 0.01, "talk_seconds": 30}


def good(connection: socket.socket, _number: int) -> bool:
    """Answer well."""
    connection.sendall(response())
    return True


def sends(data: bytes) -> Answer:
    """Return an answer that sends ``data`` and closes."""

    def answer(connection: socket.socket, _number: int) -> bool:
        connection.sendall(data)
        return False

    return answer


def downloads(answer: Answer, directory: Path, proof: str, **more: typing.Any) -> list[Record]:
    """Return the downloads of a run that lasts until something was answered: they begin before that."""
    done = threading.Event()

    def tells(connection: socket.socket, number: int) -> bool:
        done.set()
        return answer(connection, number)

    options: dict[str, typing.Any] = {"rate": 5, "streams": 1, "downloads": (("/big", proof),), **more}
    with serving(tells) as url:
        ledger = witnessed(url, directory, until=done, **options)
    return [record for record in ledger if record.kind == "slow"]


@pytest.mark.parametrize(
    ("proof", "kind"),
    [
        (f"sha256:{SHA256}", None),
        (f"bytes:{len(BODY)}", None),
        ("sha256:" + "0" * 64, "wrong-body"),
        (f"bytes:{len(BODY) + 1}", "wrong-body"),
        ("digest", "no-digest"),
    ],
)
def test_a_download_needs_its_proof(proof: str, kind: str | None, tmp_path: Path) -> None:
    records = downloads(sends(response(body=BODY)), tmp_path, proof)

    assert {(record.error_kind, record.status, record.version) for record in records} == {(kind, 200, "v1")}


def test_a_download_is_read_no_faster_than_told(tmp_path: Path) -> None:
    records = downloads(sends(response(body=BODY)), tmp_path, f"bytes:{len(BODY)}", pace=100_000)

    # What the last reading brought need not be waited for.
    assert all(record.ms >= 1000 * (len(BODY) - 16384 * 2) / 100_000 for record in records)
    assert {record.error for record in records} == {None}


def test_downloads_run_side_by_side_and_take_turns(tmp_path: Path) -> None:
    slow = downloads(good, tmp_path, "", downloads=(("/a", "bytes:2"), ("/b", "bytes:2")), streams=2)

    assert {record.path for record in slow} == {"/a", "/b"}
    assert len({record.connection for record in slow}) == len(slow)


def test_a_download_that_stands_still_is_a_failure(tmp_path: Path) -> None:
    def stands_still(connection: socket.socket, _number: int) -> bool:
        connection.sendall(response(body=BODY)[:-1])
        return True

    records = downloads(stands_still, tmp_path, "digest", download_timeout=1, timeout=0.1, pace=1e9)

    assert {record.error_kind for record in records} == {"timeout"}
    assert "after 51199 bytes" in str(records[0].error)


def test_short_downloads_are_no_flood(tmp_path: Path) -> None:
    assert len(downloads(good, tmp_path, "bytes:2")) <= 3


@pytest.mark.parametrize(("answer", "status"), [(sends(response(503, close=True)), 503), (sends(b""), None)])
def test_a_download_that_is_not_answered_is_a_failure_and_no_flood(
    answer: Answer, status: int | None, tmp_path: Path
) -> None:
    records = downloads(answer, tmp_path, "digest")

    assert {record.status for record in records} == {status}
    assert len(records) <= 3
    assert not judge(Ledger(tuple(records))).ok


def test_downloads_do_not_count_as_latency() -> None:
    fields: dict[str, typing.Any] = {
        "start": 1.0,
        "end": 9.0,
        "ms": 8000.0,
        "method": "GET",
        "path": "/",
        "connection": 1,
    }
    fields |= {"nth": 1, "status": 200, "error": None, "version": None, "instance": None, "slot": None}

    assert judge(Ledger((Record(kind="slow", **fields),))).latency is None
    assert judge(Ledger((Record(kind="kept", **fields),))).latency is not None


@pytest.mark.parametrize("text", ["", "digest:", "sha256:abc", "bytes:-1", "bytes:", "md5:" + "0" * 32])
def test_proofs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ProofError, match="expected digest"):
        Proof.named(text)
    with pytest.raises(UsageError, match="the proof for /big: found"):
        Options(target=Target("127.0.0.1", 80, "h"), seconds=1, downloads=(("/big", text),))


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("sha-256=:Nzc=:", "wrong-body"),
        ("sha-512=:Nzc=:", "no-digest"),
        ("sha-256=:7:", "no-digest"),
        ("", "no-digest"),
    ],
)
def test_digests_that_prove_nothing(told: str, kind: str) -> None:
    with pytest.raises(WireError) as caught:
        Proof.named("digest").check({"content-digest": told}, Body())

    assert caught.value.kind == kind


def sockets(talk: Talking, directory: Path, **more: typing.Any) -> tuple[SocketRecord, ...]:
    """Return the WebSockets of a run as ``talked`` does it."""
    return talked(talk, directory, **more).sockets


def talked(
    talk: Talking, directory: Path, *, texts: int | None = None, opened: int | None = None, **more: typing.Any
) -> Ledger:
    """Return what was seen in a run until one has ended, has heard so many ``texts``, or so many were ``opened``."""
    done = threading.Event()
    numbers = itertools.count(1)

    def converse(side: Side) -> None:
        side.on_text = lambda: done.set() if side.texts == texts else None
        if next(numbers) == opened:
            done.set()
        try:
            talk(side)
        finally:
            if opened is None:
                done.set()

    with serving(good, converse) as url:
        return witnessed(url, directory, until=done, **{**TALKS, **more})


def test_so_many_are_open_at_once_and_not_all_of_them_end_together(tmp_path: Path) -> None:
    found = sockets(repeats, tmp_path, opened=8, talkers=4, talk_seconds=0.8)

    first = sorted(found, key=lambda one: one.connection)[:4]
    assert [one.ms >= 200 * (index + 1) for index, one in enumerate(first)] == [True] * 4
    assert first[0].ms < 800
    assert {(one.closer, one.code, one.error, one.version) for one in found} == {("client", 1000, None, "v1")}


def test_stopping_ends_them_in_good_order_at_once(tmp_path: Path) -> None:
    (only,) = sockets(repeats, tmp_path, texts=1, talk_interval=60)

    assert (only.closer, only.sent, only.error) == ("client", 1, None)


def test_pings_are_answered_and_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.witness.talk.PING_SECONDS", 0.01)
    heard: list[tuple[int, bytes]] = []

    def pings(side: Side) -> None:
        side.send(PING, b"there?")
        side.send(PONG, b"unasked")
        while (PING, b"ping-2") not in heard or (PONG, b"there?") not in heard:
            heard.append(side.hear())
            if heard[-1][0] != PONG:
                side.answer(*heard[-1])
        side.close(1000)

    found = sockets(pings, tmp_path)

    assert (found[0].error, found[0].closer) == (None, "server")


def deaf(side: Side) -> None:
    """Answer nothing."""
    while side.hear():
        pass


def binary(side: Side) -> None:
    """Send what nobody asked for."""
    side.send(2, b"witness-1-1")
    deaf(side)


def of_somebody_else(side: Side) -> None:
    """Answer with what another connection has said."""
    side.hear()
    side.repeat(b"witness-99-1")
    deaf(side)


def of_the_future(side: Side) -> None:
    """Answer what was not said yet."""
    side.hear()
    side.repeat(b"witness-1-1000000")
    deaf(side)


def masks(side: Side) -> None:
    """Send a frame as only clients may."""
    side.connection.sendall(b"\x81\x80abcd")
    deaf(side)


def within_a_frame(side: Side) -> None:
    """End the stream in the middle of a frame."""
    side.hear()
    side.connection.sendall(b"\x81\x05he")
    side.connection.shutdown(1)
    deaf(side)


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        pytest.param(binary, "foreign-message: BINARY", id="binary"),
        pytest.param(of_somebody_else, "foreign-message: TEXT", id="of somebody else"),
        pytest.param(of_the_future, "foreign-message: TEXT", id="of the future"),
        pytest.param(masks, "bad-frame: ", id="masks"),
        pytest.param(within_a_frame, "cut: the stream ended in a frame, after 4 bytes of it", id="within a frame"),
    ],
)
def test_a_server_that_does_not_keep_to_the_protocol(talk: Talking, error: str, tmp_path: Path) -> None:
    found = sockets(talk, tmp_path)

    assert str(found[0].error).startswith(error)
    assert found[0].status == 101


def test_a_deaf_server_is_noticed_by_its_missing_pong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.witness.talk.PING_SECONDS", 0.01)
    found = sockets(deaf, tmp_path, timeout=1)

    assert (found[0].error_kind, found[0].closer) == ("no-pong", None)


def test_a_close_that_is_not_answered_is_a_failure(tmp_path: Path) -> None:
    def ignores_the_close(side: Side) -> None:
        while True:
            opcode, payload = side.hear()
            if opcode != CLOSE:
                side.answer(opcode, payload)

    (only,) = sockets(ignores_the_close, tmp_path, texts=1, timeout=1)

    assert only.error_kind == "no-close"


def test_the_last_answers_are_waited_for(tmp_path: Path) -> None:
    def late(side: Side) -> None:
        heard = side.hear()
        # A close frame that came before the answer would make it superfluous.
        readable, _, _ = select.select([side.connection], [], [], 0.3)
        if not readable:
            side.answer(*heard)
        repeats(side)

    ledger = talked(late, tmp_path, texts=1, talk_interval=60)

    assert [(one.closer, one.error, one.sent) for one in ledger.sockets] == [("client", None, 1)]
    assert [message.number for message in ledger.messages] == [1]


def test_one_that_has_ended_without_a_close_frame_was_cut(tmp_path: Path) -> None:
    (only,) = sockets(repeats, tmp_path, texts=1, talk_interval=60)
    cut = dataclasses.replace(only, closer=None, code=None, sent=0)

    assert [fault.why for fault in socket_faults(Ledger((), sockets=(cut,)))] == ["cut: no close frame"]


@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        (response(503), 503, None),
        (b"", None, "eof-before-status"),
        (b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n", 101, "bad-handshake"),
        (response(503)[:-1], 503, "truncated-body"),
    ],
)
def test_one_that_is_not_opened_is_a_failure_and_no_flood(
    data: bytes, status: int | None, error: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.witness.servers.opening", lambda _key: data)
    done = threading.Event()
    with serving(good, lambda _side: done.set()) as url:
        ledger = witnessed(url, tmp_path, until=done, **TALKS)

    assert {(one.status, one.error_kind, one.sent) for one in ledger.sockets} == {(status, error, 0)}
    assert len(ledger.sockets) <= 3
    assert judge(ledger).socket_faults[0].why.startswith(error or "not opened: status 503")
    assert judge(ledger, allow_5xx_of="v1").ok == (status == 503 and error is None)


def test_one_that_is_refused_or_hangs_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = witnessed(closed_port(), tmp_path, **TALKS).sockets[0]
    assert (only.error_kind, only.status) == ("refused", None)
    (tmp_path / "ledger.jsonl").unlink()
    monkeypatch.setattr("tests.unit.witness.servers.opening", lambda _key: b"HTTP/1.1 1")
    only = sockets(deaf, tmp_path, timeout=0.1)[0]
    assert (only.error_kind, only.status) == ("timeout", None)


def test_a_wrong_version_is_noticed_in_the_handshake_and_in_each_answer(tmp_path: Path) -> None:
    done = threading.Event()

    def talk(side: Side) -> None:
        side.on_text = done.set
        repeats(side)

    with serving(good, talk) as url:
        ledger = witnessed(url, tmp_path, until=done, **TALKS)
    wrong = judge(ledger, expect_versions=["v2"]).wrong_socket_version

    assert judge(ledger, expect_versions=["v1"]).ok
    assert "WebSockets or their messages" in "; ".join(judge(ledger, expect_versions=["v2"]).reasons)
    assert wrong == [*ledger.sockets, *ledger.messages]
    assert len(wrong) >= 2


@pytest.mark.parametrize("path", ["echo", "/a b"])
def test_paths_of_downloads_and_websockets_are_checked(path: str) -> None:
    target = Target("127.0.0.1", 80, "h")
    with pytest.raises(UsageError, match="must begin with /"):
        Options(target=target, seconds=1, websockets=(path,))
    with pytest.raises(UsageError, match="must begin with /"):
        Options(target=target, seconds=1, downloads=((path, "digest"),))


@pytest.mark.parametrize("name", ["streams", "pace", "download_timeout", "talkers", "talk_seconds", "talk_interval"])
def test_numbers_that_make_no_sense_are_refused(name: str) -> None:
    numbers: dict[str, typing.Any] = {name: 0}
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is 0"):
        Options(target=Target("127.0.0.1", 80, "h"), seconds=1, **numbers)


@pytest.mark.parametrize(
    ("has_downloads", "has_websockets", "seconds"), [(False, False, 5), (True, False, 60), (False, True, 15)]
)
def test_how_long_the_end_may_take(has_downloads: bool, has_websockets: bool, seconds: float) -> None:
    found = longest_end(timeout=5, download_timeout=60, has_downloads=has_downloads, has_websockets=has_websockets)
    assert found == seconds
