# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The client against servers that misbehave, and against servers that only look as if they did."""

from __future__ import annotations

import asyncio
import collections
import itertools
import math
import threading
import time
import typing

import pytest

from tests.unit.witness.servers import Answer, closed_port, reset, response, serving, witnessed
from tests.witness.checker import failures, judge
from tests.witness.client import Client, shots
from tests.witness.ledger import LedgerWriter, load
from tests.witness.options import Options, Target, UsageError, loopback_target

if typing.TYPE_CHECKING:
    import socket
    from pathlib import Path

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Version: v1\r\n\r\n"


def sends(data: bytes, *, keep: bool = False) -> Answer:
    """Return an answer that sends ``data`` and keeps or closes the connection."""

    def answer(connection: socket.socket, _number: int) -> bool:
        connection.sendall(data)
        return keep

    return answer


def resets_in_the_body(connection: socket.socket, _number: int) -> bool:
    """Send half a body, and reset once it has surely been read."""
    connection.sendall(response(body=b"x" * 100)[:-50])
    time.sleep(0.05)
    return reset(connection)


def hangs(connection: socket.socket, _number: int) -> bool:
    """Begin an answer and never end it."""
    connection.sendall(response(body=b"x" * 100)[:-50])
    return True


def hangs_silently(_connection: socket.socket, _number: int) -> bool:
    """Answer nothing."""
    return True


def closes_silently_when_idle(connection: socket.socket, _number: int) -> bool:
    """Answer well, and close soon afterwards without having said so."""
    connection.sendall(response())
    time.sleep(0.01)
    return False


def resets_when_idle(connection: socket.socket, _number: int) -> bool:
    """Answer well, and reset soon afterwards."""
    connection.sendall(response())
    time.sleep(0.01)
    return reset(connection)


def doubles_late(connection: socket.socket, _number: int) -> bool:
    """Answer well, and once more a little later."""
    connection.sendall(response())
    time.sleep(0.01)
    connection.sendall(response())
    return True


def dribbles(connection: socket.socket, _number: int) -> bool:
    """Answer slowly, in pieces, but well."""
    for piece in (b"HTTP/1.1 200", b" OK\r\nContent-Le", b"ngth: 4\r\n\r", b"\nab", b"cd"):
        connection.sendall(piece)
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        pytest.param(sends(b""), "eof-before-status", None, id="drops before the status"),
        pytest.param(lambda connection, _: reset(connection), "reset", None, id="resets before the status"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nX-Ver"), "truncated-head", None, id="drops in the head"),
        pytest.param(sends(response(body=b"x" * 100)[:-1]), "truncated-body", 200, id="one byte short"),
        pytest.param(sends(CHUNKED + b"5\r\nhel"), "truncated-body", 200, id="drops in a chunk"),
        pytest.param(sends(CHUNKED + b"5\r\nhello\r\n"), "truncated-body", 200, id="drops before the last chunk"),
        pytest.param(resets_in_the_body, "reset", 200, id="resets in the body"),
        pytest.param(sends(response() * 2, keep=True), "leftover-bytes", 200, id="answers twice"),
        pytest.param(sends(b"220 mail.example ESMTP\r\n", keep=True), "bad-status-line", None, id="not HTTP"),
        pytest.param(hangs, "timeout", 200, id="hangs in the body"),
        pytest.param(hangs_silently, "timeout", None, id="hangs before the status"),
    ],
)
def test_every_request_to_a_broken_server_fails_precisely(
    tmp_path: Path, answer: Answer, kind: str, status: int | None
) -> None:
    with serving(answer) as url:
        ledger = witnessed(url, tmp_path, timeout=0.1 if kind == "timeout" else 3)

    assert {(record.error_kind, record.status) for record in ledger} == {(kind, status)}
    assert len(ledger) >= 10
    assert len(failures(ledger)) == len(ledger)
    assert {record.kind for record in ledger} == {"kept", "fresh"}
    assert {record.nth for record in ledger} == {1}


def test_the_rate_holds_however_slow_the_answers_are(tmp_path: Path) -> None:
    with serving(hangs_silently) as url:
        ledger = witnessed(url, tmp_path, timeout=0.1)

    assert 10 <= len(ledger) <= 16
    assert all(100 <= record.ms < 1000 for record in ledger)
    assert "before the status" in str(ledger.records[0].error)


def test_a_refused_connection_is_a_failure(tmp_path: Path) -> None:
    ledger = witnessed(closed_port(), tmp_path)

    assert {record.error_kind for record in ledger} == {"refused"}
    assert all(record.end >= record.start for record in ledger)


def test_an_answer_with_status_500_is_whole_and_yet_a_failure(tmp_path: Path) -> None:
    with serving(sends(response(500), keep=True)) as url:
        ledger = witnessed(url, tmp_path)

    assert {(record.error, record.status, record.version) for record in ledger} == {(None, 500, "v1")}
    assert len(failures(ledger)) == len(ledger)


@pytest.mark.parametrize("answer", [closes_silently_when_idle, resets_when_idle])
def test_an_idle_connection_closed_without_a_word_fails_the_next_request_on_it(tmp_path: Path, answer: Answer) -> None:
    with serving(answer) as url:
        ledger = witnessed(url, tmp_path, seconds=0.25, connections=8)

    kept = [record for record in ledger if record.kind == "kept"]
    assert {record.error for record in ledger if record.kind == "fresh"} == {None}
    assert {(record.nth, record.error_kind) for record in kept} == {(1, None), (2, "closed-while-idle")}


def test_a_second_answer_on_an_idle_connection_is_reported_by_the_next_request_or_at_the_end(tmp_path: Path) -> None:
    with serving(doubles_late) as url:
        ledger = witnessed(url, tmp_path, seconds=0.25, connections=8)

    kept = [record for record in ledger if record.kind == "kept"]
    by_connection = collections.Counter(record.connection for record in kept)
    spoiled = {record.connection for record in kept if record.error_kind == "leftover-bytes"}
    # The answer to the very last request may be doubled only after the run.
    assert len(set(by_connection) - spoiled) <= 1
    assert len(spoiled) >= 3
    assert {record.error_kind for record in kept} == {None, "leftover-bytes"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sends(response(), keep=True), id="plain"),
        pytest.param(sends(CHUNKED + b"2;x=y\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", keep=True), id="chunked with a trailer"),
        pytest.param(sends(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(), keep=True), id="interim response"),
        pytest.param(sends(b"HTTP/1.1 204 No Content\r\n\r\n", keep=True), id="no content"),
    ],
)
def test_a_proper_server_has_no_failures_and_its_connections_are_reused(tmp_path: Path, answer: Answer) -> None:
    with serving(answer) as url:
        ledger = witnessed(url, tmp_path)

    kept = [record for record in ledger if record.kind == "kept"]
    assert failures(ledger) == []
    # Two while the server keeps up; a busy machine may need more.
    assert 2 <= len({record.connection for record in kept}) < len(kept)
    assert max(record.nth for record in kept) >= 3
    assert {record.nth for record in ledger if record.kind == "fresh"} == {1}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(response(close=True), id="announced"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n{}", id="HTTP/1.0 without a length"),
    ],
)
def test_an_announced_close_is_no_failure_and_leads_to_a_new_connection(tmp_path: Path, data: bytes) -> None:
    with serving(sends(data)) as url:
        ledger = witnessed(url, tmp_path)

    assert failures(ledger) == []
    assert {record.nth for record in ledger} == {1}
    assert len({record.connection for record in ledger}) == len(ledger)


def test_slow_but_whole_answers_are_fine_and_busy_connections_are_not_waited_for(tmp_path: Path) -> None:
    with serving(dribbles) as url:
        ledger = witnessed(url, tmp_path, connections=1)

    assert failures(ledger) == []
    assert min(record.ms for record in ledger) >= 80
    assert len({record.connection for record in ledger if record.kind == "kept"}) > 1


def test_the_wrong_version_is_noticed(tmp_path: Path) -> None:
    with serving(sends(response(version="v2"), keep=True)) as url:
        ledger = witnessed(url, tmp_path)

    assert judge(ledger, expect_versions=["v2"]).ok
    assert len(judge(ledger, expect_versions=["v1"]).wrong_version) == len(ledger)
    assert {(record.instance, record.slot) for record in ledger} == {("app1", "blue")}


def test_stop_lets_the_requests_in_flight_end(tmp_path: Path) -> None:
    received: list[int] = []

    def answer(connection: socket.socket, number: int) -> bool:
        received.append(number)
        time.sleep(0.15)
        connection.sendall(response())
        return True

    with serving(answer) as url:
        options = Options(target=loopback_target(url), seconds=30, rate=60)
        client = Client(options, LedgerWriter(tmp_path / "ledger.jsonl"))
        timer = threading.Timer(0.3, client.stop)
        timer.start()
        asyncio.run(client.run())
    ledger = load(tmp_path / "ledger.jsonl")

    assert len(ledger) == client.sent == len(received)
    assert failures(ledger) == []


def test_a_starved_client_skips_instead_of_flooding_and_its_silence_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.witness.client.MAX_BACKLOG_SECONDS", 0.1)
    with serving(sends(response(), keep=True)) as url:
        options = Options(target=loopback_target(url), seconds=0.4, rate=100)
        client = Client(options, LedgerWriter(tmp_path / "ledger.jsonl"))

        async def run_starved() -> None:
            asyncio.get_running_loop().call_later(0.1, time.sleep, 0.2)
            await client.run()

        asyncio.run(run_starved())
    ledger = load(tmp_path / "ledger.jsonl")

    assert client.skipped >= 15
    assert failures(ledger) == []
    assert not judge(ledger, max_silence=0.15).ok


def test_what_a_starved_client_finds_answered_is_answered(tmp_path: Path) -> None:
    def soon(connection: socket.socket, _number: int) -> bool:
        time.sleep(0.05)
        connection.sendall(response())
        return True

    with serving(soon) as url:
        options = Options(target=loopback_target(url), seconds=1, rate=100, timeout=0.4)
        client = Client(options, LedgerWriter(tmp_path / "ledger.jsonl"))

        async def run_starved() -> None:
            asyncio.get_running_loop().call_later(0.3, time.sleep, 0.6)
            await client.run()

        asyncio.run(run_starved())
    ledger = load(tmp_path / "ledger.jsonl")

    late = [record for record in ledger if record.ms > 400 and record.body_bytes == 2]
    assert late
    assert {record.error for record in late} == {None}


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["kept", "fresh"])
def test_the_posts_have_their_share_of_each_kind(kind: typing.Literal["kept", "fresh"], share: float) -> None:
    target = Target("127.0.0.1", 80, "app.example")
    options = Options(target=target, seconds=1, paths=("/a", "/b"), posts=(("/orders", '{"n": 1}'),), post_share=share)

    sent = list(itertools.islice(shots(options, kind), 100))

    assert sum(shot.method == "POST" for shot in sent) == math.floor(100 * share)
    assert all(shot.data.endswith(b'\r\n\r\n{"n": 1}') for shot in sent if shot.method == "POST")
    assert {shot.path for shot in sent if shot.method == "GET"} == (set() if share == 1 else {"/a", "/b"})
    assert all((b"Connection: close" in shot.data) == (kind == "fresh") for shot in sent)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://192.0.2.1:80", "not a loopback address"),
        ("http://0.0.0.0:80", "not a loopback address"),
        ("http://[2001:db8::1]:80", "not a loopback address"),
        ("http://[::ffff:192.0.2.1]:80", "not a loopback address"),
        ("https://127.0.0.1", "expected http://"),
        ("127.0.0.1:80", "expected http://"),
        ("http://127.0.0.1:80/path", "expected http://"),
        ("http://127.0.0.1@192.0.2.1:80", "expected http://"),
        ("http://127.0.0.1:99999", "leads nowhere"),
    ],
)
def test_other_targets_than_this_machine_are_refused(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loopback_target(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://127.8.9.1:8080/", "http://localhost:8080"])
def test_this_machine_is_accepted(url: str) -> None:
    assert loopback_target(url).port == 8080


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seconds": 0.0}, "--seconds is 0"),
        ({"seconds": math.inf}, "--seconds is inf"),
        ({"rate": -1.0}, "--rate is -1"),
        ({"rate": math.nan}, "--rate is nan"),
        ({"timeout": 61.0}, "--timeout is 61"),
        ({"connections": 0}, "--connections is 0"),
        ({"post_share": 1.5}, "--post-share is 1.5"),
        ({"paths": ()}, "no path"),
        ({"paths": ("/a b",)}, "must begin with /"),
        ({"paths": ("/a\r\nX: y",)}, "must begin with /"),
        ({"posts": (("orders", "{}"),)}, "must begin with /"),
        ({"posts": (("/orders", "{"),)}, "is not JSON"),
    ],
)
def test_impossible_options_are_refused(changed: dict[str, typing.Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**{"target": Target("127.0.0.1", 80, "h"), "seconds": 1.0, **changed})
