# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The watch over a HAProxy's traffic, with the real one: what each kind of request is taken for, and what is never missed."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils import access_log_haproxy
from ansible_collections.baton.release.plugins.module_utils.access_log_haproxy import HAProxyRing
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.traffic import Limits, Request
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import AGENT, Probes
from ansible_collections.baton.release.plugins.module_utils.traffic_slice import watch

from tests.balancers.running import ask
from tests.balancers.running_haproxy import RunningHAProxy

Cursor = typing.Mapping[str, typing.Any]


def ring(haproxy: RunningHAProxy, cursor: Cursor | None = None, **match: str) -> HAProxyRing:
    return HAProxyRing(haproxy.master, cursor=cursor, match=match or {"entry": "public"}, own_agent=AGENT)


def look(log: HAProxyRing, haproxy: RunningHAProxy, count: int) -> list[Request]:
    """Read until there are so many; HAProxy writes a line a moment after the answer."""
    found: list[Request] = []

    def enough() -> bool:
        found.extend(log.read())
        return len(found) >= count

    haproxy.eventually(enough)
    return found


def sliced(haproxy: RunningHAProxy, **more: typing.Any) -> dict[str, typing.Any]:
    probes = Probes(url=haproxy.url, paths=more.pop("paths", ["/"]), rate=20, timeout=10, host=None)
    options: dict[str, typing.Any] = {
        "driver": "haproxy",
        "access_log": str(haproxy.master),
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


def test_each_request_has_its_slot_its_status_and_its_time(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.get()
    log = ring(haproxy)
    for path in ("/", "/404", "/500"):
        haproxy.get(path)
    haproxy.get(address=haproxy.green)
    with contextlib.suppress(http.client.HTTPException):
        haproxy.get("/broken-off")
    found = look(log, haproxy, 4)
    kinds = [(one.slot, one.status, one.outcome) for one in found]
    assert kinds == [
        ("blue", "200", "ok"),
        ("blue", "404", "ok"),
        ("blue", "500", "error"),
        ("blue", "200 cut", "error"),
    ]
    assert [one.ms is None for one in found] == [False, False, False, True]
    assert (log.entries, log.matched, log.gap) == (5, 4, False)


def test_a_client_that_went_away_and_a_balancer_with_nothing_live(haproxy: RunningHAProxy) -> None:
    log = ring(haproxy)
    haproxy.get()
    assert [(one.slot, one.status, one.outcome) for one in look(log, haproxy, 1)] == [(None, "503", "error")]
    haproxy.switch("green", "none")
    host, _, port = haproxy.public.partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /held HTTP/1.1\r\nHost: test\r\n\r\n")
        haproxy.eventually(lambda: any(backend.held.is_set() for backend in haproxy.backends.values()))
        # A reset: a client that only ends its side may still wait for the answer.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # HAProxy notices when it has the answer that nobody waits for.
    for backend in haproxy.backends.values():
        backend.release.set()
    (left,) = look(log, haproxy, 1)
    assert (left.slot, left.outcome) == ("green", "left")


def test_requests_of_seats_are_of_the_slot_of_their_server(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("mixed", "blue", seats={"app1": "green"})
    log = ring(haproxy)
    for _ in range(4):
        haproxy.get()
    assert sorted(str(one.slot) for one in look(log, haproxy, 4)) == ["blue", "blue", "green", "green"]


def test_nothing_is_missed_or_counted_twice_between_readers_and_over_a_reload(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    log = ring(haproxy)
    kept = http.client.HTTPConnection(haproxy.public, timeout=10)
    ask(kept)
    assert len(look(log, haproxy, 1)) == 1
    haproxy.get()
    haproxy.reload()
    haproxy.switch("green", "blue")
    haproxy.get()
    # The old worker hands it over, and both list it.
    assert ask(kept)[1] == "green"
    later = ring(haproxy, log.cursor)
    found = look(later, haproxy, 2)
    assert [one.slot for one in found if one.slot == "green"] == ["green", "green"]
    assert len(found) in {2, 3}
    # What an old worker had is gone with it, and that is said.
    assert later.gap == (len(found) == 2)


def test_the_last_look_of_a_slice_is_never_left_out(haproxy: RunningHAProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one look takes long, as on a busy machine, there may be no other one in the whole slice."""
    haproxy.switch("blue", "none")
    monkeypatch.setattr(access_log_haproxy, "_SHARE_OF_TIME", 1e-6)
    log = ring(haproxy)
    assert list(log.read()) == []
    haproxy.get()
    assert list(log.read()) == []
    assert len(list(log.read(last=True))) == 1
    result = sliced(haproxy)
    assert result["slice"]["requests"] >= result["probes"]["answered"] > 0


def test_a_ring_that_has_run_over_and_a_killed_balancer_are_gaps(haproxy: RunningHAProxy) -> None:
    haproxy.configure(haproxy_ring_bytes=16384)
    haproxy.kill()
    haproxy.start()
    haproxy.await_up()
    haproxy.switch("blue", "none")
    haproxy.get()
    log = ring(haproxy)
    for _ in range(200):
        haproxy.get()
    assert 10 < len(look(log, haproxy, 1)) < 200
    assert log.gap
    haproxy.kill()
    haproxy.start()
    haproxy.await_up()
    haproxy.get()
    again = ring(haproxy, log.cursor)
    assert len(look(again, haproxy, 1)) == 1
    assert again.gap


def test_a_slice_is_healthy_or_a_breach_and_goes_on_where_the_last_one_ended(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    first = sliced(haproxy)
    assert (first["verdict"], first["gap"], first["slice"]["errors"]) == ("healthy", False, 0)
    second = sliced(haproxy, cursor=first["cursor"], totals=first["totals"], paths=["/500"])
    assert second["verdict"] == "breach"
    assert second["totals"]["requests"] > first["totals"]["requests"]
    assert sliced(haproxy, cursor=second["cursor"], slot="green")["other_slots"]["blue"]["requests"] > 0


def test_probes_that_are_broken_off_are_counted_once(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    measured = sliced(haproxy, paths=["/broken-off"])
    assert measured["verdict"] == "breach"
    assert measured["slice"]["requests"] == measured["probes"]["failed"]


def test_what_is_no_such_balancer_is_named(haproxy: RunningHAProxy) -> None:
    with pytest.raises(BatonError, match="does not answer"):
        HAProxyRing(haproxy.directory / "none", cursor=None, match={}, own_agent=AGENT)
    with pytest.raises(BatonError, match="did not return"):
        ring(haproxy, {"inode": 3})
    config = haproxy.directory / "haproxy.cfg"
    config.write_text(
        config.read_text().replace("ring requests", "ring others").replace("ring@requests", "ring@others")
    )
    haproxy.reload()
    with pytest.raises(BatonError, match="without the ring requests"):
        ring(haproxy)
