# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The watch over an nginx's traffic, with the real one: what each kind of request is taken for, and what is never missed."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import struct
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils.access_log_nginx import NginxAccessLog
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.traffic import Limits, Request
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import AGENT, Probes
from ansible_collections.baton.release.plugins.module_utils.traffic_slice import watch

from tests.balancers.running_nginx import RunningNginx

HOSTS = RunningNginx.hosts
Cursor = typing.Mapping[str, typing.Any]


def log_of(nginx: RunningNginx, cursor: Cursor | None = None, **match: str) -> NginxAccessLog:
    return NginxAccessLog(nginx.log, cursor=cursor, match=match or {"entry": "public"}, own_agent=AGENT)


def look(log: NginxAccessLog, nginx: RunningNginx, count: int) -> list[Request]:
    """Read until there are so many; nginx writes a line a moment after the answer."""
    found: list[Request] = []

    def enough() -> bool:
        found.extend(log.read())
        return len(found) >= count

    nginx.eventually(enough)
    return found


def sliced(nginx: RunningNginx, **more: typing.Any) -> dict[str, typing.Any]:
    probes = Probes(url=nginx.url, paths=more.pop("paths", ["/"]), rate=20, timeout=10, host=None)
    options: dict[str, typing.Any] = {
        "driver": "nginx",
        "access_log": str(nginx.log),
        "match": {"entry": "public"},
        "cursor": None,
        "totals": None,
        "probes": probes,
        "slot": "blue",
        "limits": Limits(0.01, 60_000, 1),
        "seconds": 2,
        "compared": False,
        "fail_on_breach": False,
        "check_mode": False,
    }
    return watch(**{**options, **more})


def leave(nginx: RunningNginx, path: str, *, after: bytes) -> None:
    """Ask, and go away once ``after`` has come."""
    host, _, port = nginx.public.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        nginx.eventually(lambda: any(backend.held.is_set() for backend in nginx.backends.values()))
        seen = b""
        while after not in seen:
            seen += client.recv(1000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_each_request_has_its_slot_its_status_and_its_time(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.get()
    nginx.eventually(lambda: "blue" in nginx.log.read_text())
    log = log_of(nginx)
    for path in ("/", "/404", "/500"):
        nginx.get(path)
    nginx.get(address=nginx.green)
    with contextlib.suppress(http.client.HTTPException):
        nginx.get("/broken-off")
    nginx.get()
    found = look(log, nginx, 5)
    assert sorted((str(one.slot), one.status, one.outcome) for one in found) == [
        ("blue", "200", "ok"),
        ("blue", "200", "ok"),
        ("blue", "200 cut", "error"),
        ("blue", "404", "ok"),
        ("blue", "500", "error"),
    ]
    assert [one.status for one in found if one.ms is None] == ["200 cut"]
    assert (log.entries, log.matched, log.garbage, log.gap) == (6, 5, 0, False)


def test_clients_that_went_away_and_a_balancer_with_nothing_live(nginx: RunningNginx) -> None:
    nginx.eventually(nginx.log.exists)
    log = log_of(nginx)
    nginx.get()
    assert [(one.slot, one.status, one.outcome) for one in look(log, nginx, 1)] == [(None, "503", "error")]
    nginx.switch("green", "none")
    leave(nginx, "/held", after=b"")
    (left,) = look(log, nginx, 1)
    assert (left.slot, left.status, left.outcome, left.ms is None) == ("green", "499", "left", False)
    for backend in nginx.backends.values():
        backend.held.clear()
    leave(nginx, "/slow", after=b"{}")
    (left,) = look(log, nginx, 1)
    assert (left.slot, left.status, left.outcome, left.ms) == ("green", "200 cut", "left", None)


def test_a_websocket_is_no_slow_request(nginx: RunningNginx) -> None:
    nginx.switch("green", "none")
    log = log_of(nginx)
    host, _, port = nginx.public.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 101")
    (one,) = look(log, nginx, 1)
    assert (one.slot, one.status, one.outcome, one.ms) == ("green", "101", "ok", None)


def test_a_request_that_went_elsewhere_is_of_the_slot_that_answered(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("mixed", "blue", seats={"app1": "green"})
    nginx.backends["app1", "green"].close()
    log = log_of(nginx)
    for _ in range(24):
        nginx.get()
    found = look(log, nginx, 24)
    assert {(one.slot, one.status, one.outcome) for one in found} == {("blue", "200", "ok")}
    assert "127.0.0.1:" in nginx.log.read_text()
    assert log.garbage == 0
    # Nobody is left: each of them is of the slot that was asked last.
    for host in HOSTS:
        nginx.backends[host, "blue"].close()
    nginx.get()
    (one,) = look(log, nginx, 1)
    assert (one.slot in ("blue", "green"), one.status, one.outcome) == (True, "502", "error")


def test_nothing_is_missed_or_counted_twice_between_readers_and_over_a_rotation(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.get()
    nginx.eventually(lambda: "blue" in nginx.log.read_text())
    log = log_of(nginx)
    nginx.get("/404")
    assert [one.status for one in look(log, nginx, 1)] == ["404"]
    nginx.get("/500")
    # As logrotate does it: renamed first, and nginx writes on into the old file until it is told.
    nginx.log.rename(nginx.log.with_suffix(".log.1"))
    nginx.get()
    nginx.signal(signal.SIGUSR1)
    nginx.eventually(nginx.log.exists)
    asked = 0

    def in_the_new_file() -> bool:
        nonlocal asked
        asked += nginx.get()[0] == 200
        return nginx.log.read_text() != ""

    nginx.eventually(in_the_new_file)
    later = log_of(nginx, log.cursor)
    # Two workers write, each in its own time.
    assert sorted(one.status for one in look(later, nginx, 2 + asked)) == ["200"] * (1 + asked) + ["500"]
    assert not later.gap
    nginx.log.write_text("")
    assert list(later.read()) == []
    nginx.get("/404")
    assert [one.status for one in look(later, nginx, 1)] == ["404"]
    assert later.gap


def test_what_is_no_line_of_nginx_is_garbage(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    log = log_of(nginx)
    with nginx.log.open("a") as lines:
        lines.write('127.0.0.1 - - "GET / HTTP/1.1" 200 2\n{"status":"x"}\n[]\n')
        lines.write("2026/01/01 00:00:00 [error] 7#7: *9 upstream timed out while reading upstream, client: x\n")
        lines.write("2026/01/01 00:00:00 [notice] 7#7: signal process started\n")
    assert list(log.read()) == []
    assert (log.garbage, log.entries) == (3, 0)
    with pytest.raises(BatonError, match="no requests in JSON"):
        sliced(nginx, cursor=log_of(nginx, log.cursor).cursor | {"offset": 0, "head": 0}, seconds=0)


def test_a_slice_is_healthy_or_a_breach_and_goes_on_where_the_last_one_ended(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    first = sliced(nginx)
    assert (first["verdict"], first["gap"], first["slice"]["errors"]) == ("healthy", False, 0)
    second = sliced(nginx, cursor=first["cursor"], totals=first["totals"], paths=["/500"])
    assert second["verdict"] == "breach"
    assert second["totals"]["requests"] > first["totals"]["requests"]
    assert sliced(nginx, cursor=second["cursor"], slot="green")["other_slots"]["blue"]["requests"] > 0


def test_probes_that_are_broken_off_are_counted_once(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    measured = sliced(nginx, paths=["/broken-off"])
    assert measured["verdict"] == "breach"
    assert measured["slice"]["requests"] == measured["probes"]["failed"]


def test_a_log_that_is_not_there_and_a_foreign_cursor_are_named(nginx: RunningNginx) -> None:
    with pytest.raises(BatonError, match="no readable log"):
        NginxAccessLog(nginx.directory / "none", cursor=None, match={}, own_agent=AGENT)
    with pytest.raises(BatonError, match="did not return"):
        log_of(nginx, {"last": {}})
